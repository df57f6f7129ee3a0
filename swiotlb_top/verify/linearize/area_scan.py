"""Which areas a search asks, in turn: what is known of it before it is known which were full.

A search goes round the pools, and reads the list of them anew as each round begins
(:mod:`swiotlb_top.allocator.order`).  Between two rounds a pool may have come, so that its way is
told by the CPU it began on and by the list that each of its rounds went by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.allocator import Allocator, Pool
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Domain, domain_of
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.slot_search import Take

Lists: TypeAlias = tuple[tuple[Pool, ...], ...]
"""The list of pools that each round so far went by."""


class Way(NamedTuple):
    """Areas a search asks, until it comes to its target or to the end of its rounds."""

    areas: tuple[tuple[Pool, int], ...]
    """Those before the target."""
    reaches: bool
    """It comes to the target."""
    whole: bool
    """There is no further round."""


class Progress(NamedTuple):
    """How far a search has come."""

    asked: frozenset[tuple[int, Lists, int]]
    """For each CPU it may have begun on and the lists its rounds may have gone by: how many areas were full."""
    waits_for: frozenset[Domain]
    """Where the areas next in turn are: none can be passed before something is taken there."""


_ARRIVED: Final = Progress(frozenset({(-1, (), 0)}), frozenset())
"""All was asked in vain before the area it found slots in, or all there is."""


def step_by_step(group: Sequence[Operation], world: Allocator) -> bool:
    """Whether a search of the group asks more than the area it found its slots in, or may."""
    grows = any(isinstance(operation, AddPool) for operation in group)
    return any(isinstance(operation, Take) and (grows or not _asks_one(operation, world)) for operation in group)


def _asks_one(take: Take, world: Allocator) -> bool:
    own = (take.pool, take.area)
    return not take.refused(world) and any(own == next(world.attempts(cpu), None) for cpu in take.cpus)


class Asking:
    """How far the searches of a group have come that are under way.

    :param taken_as_given: operations that need not ask.
    """

    def __init__(self, world: Allocator, group: Sequence[Operation], taken_as_given: Collection[int]) -> None:
        self._world = world
        self._added = [operation.pool for operation in group if isinstance(operation, AddPool)]
        self._grows = bool(self._added)
        self._ways: dict[tuple[Take, int, Lists], Way] = {}
        self._asks = {
            at: operation
            for at, operation in enumerate(group)
            if isinstance(operation, Take)
            and at not in taken_as_given
            and (self._grows or not _asks_one(operation, world))
        }

    def read_on(
        self, under_way: Sequence[int], before: dict[int, Progress], taken: Domain | None
    ) -> dict[int, Progress]:
        """Let every search that can be under way ask on, as far as what it asks is full now.

        :param before: how far they had come before the last operation.
        :param taken: where that took slots; None for an operation of another kind.
        """
        progress: dict[int, Progress] = {}
        for at in under_way:
            take = self._asks.get(at)
            if take is None:
                continue
            came = before.get(at)
            if came is None:
                came = self._go_on(take, [(cpu, (), 0) for cpu in take.cpus])
            elif came is not _ARRIVED and (taken in came.waits_for or (self._grows and taken is None)):
                came = self._go_on(take, came.asked)
            progress[at] = came
        return progress

    @staticmethod
    def arrived(at: int, progress: dict[int, Progress]) -> bool:
        """Whether a search came to the area it found slots in, or to the end of all there is."""
        return progress.get(at, _ARRIVED) is _ARRIVED

    def _go_on(self, take: Take, asked: Iterable[tuple[int, Lists, int]]) -> Progress:
        came: dict[tuple[int, Lists], int] = {}
        waits_for: set[Domain] = set()
        listed = take.listed(self._world) or (take.slot >= 0 and take.pool in self._added)
        for cpu, lists, count in asked:
            if self._ask_on(take, cpu, lists, count, came, waits_for, listed=listed):
                return _ARRIVED
        return Progress(frozenset((*on, count) for on, count in came.items()), frozenset(waits_for))

    def _ask_on(
        self,
        take: Take,
        cpu: int,
        lists: Lists,
        asked: int,
        came: dict[tuple[int, Lists], int],
        waits_for: set[Domain],
        *,
        listed: bool,
    ) -> bool:
        """Go one way on, and those that it may become; whether one of them ends where the search did."""
        while True:
            its_way = self._way(take, cpu, lists)
            areas = its_way.areas
            while asked < len(areas) and areas[asked][0].search(areas[asked][1], take.request) < 0:
                asked += 1
            if asked < len(areas):
                waits_for.add(domain_of(*areas[asked]))
            elif its_way.whole and its_way.reaches == listed:
                return True
            if asked < len(areas) or (self._grows and not its_way.whole):
                # After the last of a round: the next may as well begin later, with a longer list.
                came[cpu, lists] = max(asked, came.get((cpu, lists), 0))
            if asked < len(areas) or its_way.whole:
                return False
            lists = (*lists, self._world.pools)

    def _way(self, take: Take, cpu: int, lists: Lists) -> Way:
        known = self._ways.get((take, cpu, lists))
        if known is None:
            known = self._ways[take, cpu, lists] = way(self._world, take, cpu, lists)
        return known


class _NextRound(Exception):  # noqa: N818 (nothing went wrong)
    """The order wants to know the list of a round that has not begun."""


class _Turns:
    """An allocator as a search order sees it, with another list of pools in each round."""

    def __init__(self, world: Allocator, lists: Lists) -> None:
        self.default_nareas = world.default_nareas
        self._lists = iter(lists)

    @property
    def pools(self) -> tuple[Pool, ...]:
        for pools in self._lists:
            return pools
        raise _NextRound


def way(world: Allocator, take: Take, cpu: int, lists: Lists) -> Way:
    """The way of a search that began on ``cpu``, and whose rounds so far went by ``lists``."""
    areas: list[tuple[Pool, int]] = []
    if take.refused(world):
        return Way((), reaches=False, whole=True)
    target = (take.pool, take.area)
    try:
        for area in _order(world, cpu, lists):
            if area == target:
                return Way(tuple(areas), reaches=True, whole=True)
            areas.append(area)
    except _NextRound:
        return Way(tuple(areas), reaches=False, whole=False)
    return Way(tuple(areas), reaches=False, whole=True)


def _order(world: Allocator, cpu: int, lists: Lists) -> Iterator[tuple[Pool, int]]:
    revision = world.revision
    return (revision.order if world.dynamic else revision.static_order)(_Turns(world, lists), cpu)
