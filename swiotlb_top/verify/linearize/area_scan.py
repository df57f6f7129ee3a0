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
from swiotlb_top.verify.operations.slot_search import SlotSearch

Lists: TypeAlias = tuple[tuple[Pool, ...], ...]
"""The list of pools that each round so far went by."""


class ScanPath(NamedTuple):
    """Areas a search asks, until it comes to its target or to the end of its rounds."""

    areas: tuple[tuple[Pool, int], ...]
    """Those before the target."""
    reaches: bool
    """It comes to the target."""
    whole: bool
    """There is no further round."""


class ScanProgress(NamedTuple):
    """How far a search has come."""

    asked: frozenset[tuple[int, Lists, int]]
    """For each CPU it may have begun on and the lists its rounds may have gone by: how many areas were full."""
    waits_for: frozenset[Domain]
    """Where the areas next in turn are: none can be passed before something is taken there."""


_ARRIVED: Final = ScanProgress(frozenset({(-1, (), 0)}), frozenset())
"""All was asked in vain before the area it found slots in, or all there is."""


def step_by_step(group: Sequence[Operation], model: Allocator) -> bool:
    """Whether a search of the group asks more than the area it found its slots in, or may."""
    grows = any(isinstance(operation, AddPool) for operation in group)
    return any(isinstance(operation, SlotSearch) and (grows or not _asks_one(operation, model)) for operation in group)


def _asks_one(take: SlotSearch, model: Allocator) -> bool:
    own = (take.pool, take.area)
    return not take.is_refused(model) and any(own == next(model.attempts(cpu), None) for cpu in take.cpus)


class AreaScans:
    """How far the searches of a group have come that are under way.

    :param taken_as_given: operations that need not ask.
    """

    def __init__(self, model: Allocator, group: Sequence[Operation], taken_as_given: Collection[int]) -> None:
        self._model = model
        self._added = [operation.pool for operation in group if isinstance(operation, AddPool)]
        self._grows = bool(self._added)
        self._ways: dict[tuple[SlotSearch, int, Lists], ScanPath] = {}
        self._asks = {
            at: operation
            for at, operation in enumerate(group)
            if isinstance(operation, SlotSearch)
            and at not in taken_as_given
            and (self._grows or not _asks_one(operation, model))
        }

    def read_on(
        self, under_way: Sequence[int], before: dict[int, ScanProgress], taken: Domain | None
    ) -> dict[int, ScanProgress]:
        """Let every search that can be under way ask on, as far as what it asks is full now.

        :param before: how far they had come before the last operation.
        :param taken: where that took slots; None for an operation of another kind.
        """
        progress: dict[int, ScanProgress] = {}
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
    def arrived(at: int, progress: dict[int, ScanProgress]) -> bool:
        """Whether a search came to the area it found slots in, or to the end of all there is."""
        return progress.get(at, _ARRIVED) is _ARRIVED

    def _go_on(self, take: SlotSearch, asked: Iterable[tuple[int, Lists, int]]) -> ScanProgress:
        came: dict[tuple[int, Lists], int] = {}
        waits_for: set[Domain] = set()
        is_in_listed_pool = take.is_in_listed_pool(self._model) or (take.slot >= 0 and take.pool in self._added)
        for cpu, lists, count in asked:
            if self._ask_on(take, cpu, lists, count, came, waits_for, is_in_listed_pool=is_in_listed_pool):
                return _ARRIVED
        return ScanProgress(frozenset((*on, count) for on, count in came.items()), frozenset(waits_for))

    def _ask_on(
        self,
        take: SlotSearch,
        cpu: int,
        lists: Lists,
        asked: int,
        came: dict[tuple[int, Lists], int],
        waits_for: set[Domain],
        *,
        is_in_listed_pool: bool,
    ) -> bool:
        """Go one way on, and those that it may become; whether one of them ends where the search did."""
        while True:
            its_way = self._way(take, cpu, lists)
            areas = its_way.areas
            while asked < len(areas) and areas[asked][0].search(areas[asked][1], take.request) < 0:
                asked += 1
            if asked < len(areas):
                waits_for.add(domain_of(*areas[asked]))
            elif its_way.whole and its_way.reaches == is_in_listed_pool:
                return True
            if asked < len(areas) or (self._grows and not its_way.whole):
                # After the last of a round: the next may as well begin later, with a longer list.
                came[cpu, lists] = max(asked, came.get((cpu, lists), 0))
            if asked < len(areas) or its_way.whole:
                return False
            lists = (*lists, self._model.pools)

    def _way(self, take: SlotSearch, cpu: int, lists: Lists) -> ScanPath:
        known = self._ways.get((take, cpu, lists))
        if known is None:
            known = self._ways[take, cpu, lists] = way(self._model, take, cpu, lists)
        return known


class _NextRound(Exception):  # noqa: N818 (nothing went wrong)
    """The order wants to know the list of a round that has not begun."""


class _Turns:
    """An allocator as a search order sees it, with another list of pools in each round."""

    def __init__(self, model: Allocator, lists: Lists) -> None:
        self.default_nareas = model.default_nareas
        self._lists = iter(lists)

    @property
    def pools(self) -> tuple[Pool, ...]:
        for pools in self._lists:
            return pools
        raise _NextRound


def way(model: Allocator, take: SlotSearch, cpu: int, lists: Lists) -> ScanPath:
    """The way of a search that began on ``cpu``, and whose rounds so far went by ``lists``."""
    areas: list[tuple[Pool, int]] = []
    if take.is_refused(model):
        return ScanPath((), reaches=False, whole=True)
    target = (take.pool, take.area)
    try:
        for area in _order(model, cpu, lists):
            if area == target:
                return ScanPath(tuple(areas), reaches=True, whole=True)
            areas.append(area)
    except _NextRound:
        return ScanPath(tuple(areas), reaches=False, whole=False)
    return ScanPath(tuple(areas), reaches=False, whole=True)


def _order(model: Allocator, cpu: int, lists: Lists) -> Iterator[tuple[Pool, int]]:
    revision = model.revision
    return (revision.order if model.dynamic else revision.static_order)(_Turns(model, lists), cpu)
