"""Progress of one ``swiotlb_find_slots()``, which visits several areas and is therefore not atomic.

A search goes round the pools, and reads the list of pools anew at the beginning of each round
(:mod:`swiotlb_top.allocator.order`). A pool may be added between two rounds. So the path of a search follows from the
CPU on which it began and from the list that each of its rounds saw. It passes an area if that area has no room for it
at one point of its interval; these points come in the order of the path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.allocator import Allocator, Pool, Request
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Area, Domain, domain_of
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.slot_search import SlotSearch

Lists: TypeAlias = tuple[tuple[Pool, ...], ...]
"""The list of pools that each round so far saw, in the order of rounds."""


class ScanProgress(NamedTuple):
    """How far a search may have come."""

    passed: frozenset[tuple[int, Lists, int]]
    """How many areas it passed, for each CPU on which it may have begun and all lists its rounds may have seen."""
    blocked_on: frozenset[Domain]
    """The domains of the areas that it visits next: it cannot pass them before slots are taken there."""


_AT_TARGET: Final = ScanProgress(frozenset({(-1, (), 0)}), frozenset())
"""Every area before the target was full (or every area, if the search failed)."""


def needs_stepwise(group: Sequence[Operation], model: Allocator) -> bool:
    """Whether a search of the group visits other areas than the one in which it found slots, or may do so."""
    grows = any(isinstance(operation, AddPool) for operation in group)
    return any(
        isinstance(operation, SlotSearch) and (grows or not _visits_one_area(operation, model)) for operation in group
    )


def _visits_one_area(search: SlotSearch, model: Allocator) -> bool:
    own = (search.pool, search.area)
    return not search.is_refused(model) and any(own == next(model.attempts(cpu), None) for cpu in search.cpus)


class AreaScans:
    """The searches of one group that visit several areas, and how far they have come.

    Operations are meant by their index in the group.

    :param group: operations that overlap.
    :param unconstrained: operations that need not be legal: they are not scanned.
    """

    def __init__(self, model: Allocator, group: Sequence[Operation], unconstrained: Collection[int]) -> None:
        self._model = model
        self._added = [operation.pool for operation in group if isinstance(operation, AddPool)]
        self._grows = bool(self._added)
        self.followed = 0
        """How often a path was followed: each time costs time, and what is found takes memory."""
        self._paths: dict[tuple[int, Lists], _Path] = {}
        self._scans = {
            at: operation
            for at, operation in enumerate(group)
            if isinstance(operation, SlotSearch)
            and at not in unconstrained
            and (self._grows or not _visits_one_area(operation, model))
        }

    def advance(
        self, pending: Sequence[int], before: dict[int, ScanProgress], taken_in: Domain | None
    ) -> dict[int, ScanProgress]:
        """Let each pending search pass all areas that are full now.

        :param pending: operations that are invoked and not applied.
        :param before: how far they had come before the last operation was applied.
        :param taken_in: the domain in which that one took slots; None if it took none.
        :returns: how far they have come, in the order of ``pending``.
        """
        progress: dict[int, ScanProgress] = {}
        for at in pending:
            search = self._scans.get(at)
            if search is None:
                continue
            reached = before.get(at)
            if reached is None:
                reached = self._advance_one(search, [(cpu, (), 0) for cpu in search.cpus])
            elif reached is not _AT_TARGET and (taken_in in reached.blocked_on or (self._grows and taken_in is None)):
                reached = self._advance_one(search, reached.passed)
            progress[at] = reached
        return progress

    @staticmethod
    def is_at_target(at: int, progress: dict[int, ScanProgress]) -> bool:
        """Whether a search has only its last step left: to take slots in its target, or to fail."""
        return progress.get(at, _AT_TARGET) is _AT_TARGET

    def _advance_one(self, search: SlotSearch, passed: Iterable[tuple[int, Lists, int]]) -> ScanProgress:
        reached: dict[tuple[int, Lists], int] = {}
        blocked_on: set[Domain] = set()
        ends_in_listed_pool = search.is_in_listed_pool(self._model) or (search.slot >= 0 and search.pool in self._added)
        for cpu, lists, passed_before in passed:
            self.followed += 1
            if self._follow(
                search, cpu, lists, passed_before, reached, blocked_on, ends_in_listed_pool=ends_in_listed_pool
            ):
                return _AT_TARGET
        return ScanProgress(
            frozenset((*on, passed_before) for on, passed_before in reached.items()), frozenset(blocked_on)
        )

    def _follow(
        self,
        search: SlotSearch,
        cpu: int,
        lists: Lists,
        passed: int,
        reached: dict[tuple[int, Lists], int],
        blocked_on: set[Domain],
        *,
        ends_in_listed_pool: bool,
    ) -> bool:
        """Follow one path as far as its areas are full, and the paths into which it may fork at a new round.

        :param passed: how many areas of the path were passed before.
        :param reached: gets, for each path, how many areas were passed.
        :param blocked_on: gets the domains of areas that have room.
        :param ends_in_listed_pool: whether the search found slots in a listed pool.
        :returns: whether a path ends where the search did.
        """
        target = (search.pool, search.area)
        refused = search.is_refused(self._model)
        while True:
            path = self._path(cpu, lists)
            area = None if refused else path.at(passed)
            while area is not None and area != target and self._is_full(area, search.request):
                passed += 1
                area = path.at(passed)
            room = None if area == target else area
            ends = refused or area == target or path.complete
            if room:
                blocked_on.add(domain_of(*room))
            elif ends and (area == target) == ends_in_listed_pool:
                return True
            if room or (self._grows and not ends):
                # At the end of a round: the next one may also begin later, when the list is longer.
                reached[cpu, lists] = max(passed, reached.get((cpu, lists), 0))
            if room or ends:
                return False
            lists = (*lists, self._model.pools)

    def _is_full(self, area: Area, request: Request) -> bool:
        """Whether a search passes this area. :raises TooManyAreasError: the model's patience is over."""
        pool, index = area
        slot = pool.search(index, request)
        if pool.slots_looked_at:
            self._model.charge(pool)
        return slot < 0

    def _path(self, cpu: int, lists: Lists) -> _Path:
        known = self._paths.get((cpu, lists))
        if known is None:
            # Where no pool is added, each round sees the same list.
            order = _order(self._model, cpu, lists) if self._grows else self._model.attempts(cpu)
            known = self._paths[cpu, lists] = _Path(order)
        return known


class _NextRound(Exception):  # noqa: N818 (nothing went wrong)
    """The search order needs the list of a round that has not begun."""


class _PoolsByRound:
    """An allocator as a search order sees it, with a given list of pools in each round."""

    def __init__(self, model: Allocator, lists: Lists) -> None:
        self.default_nareas = model.default_nareas
        self._lists = iter(lists)

    @property
    def pools(self) -> tuple[Pool, ...]:
        for pools in self._lists:
            return pools
        raise _NextRound


class _Path:
    """The areas that searches visit which begin on one CPU, as far as any of them has come.

    :param order: all of them, up to a round that has not begun.
    """

    def __init__(self, order: Iterator[Area]) -> None:
        self.complete = False
        """Whether its end was reached, and no further round follows."""
        self._ended = False
        self._areas: list[Area] = []
        self._further = order

    def at(self, place: int) -> Area | None:
        """The area at a place, from 0; None behind the last round."""
        while place >= len(self._areas) and not self._ended:
            try:
                self._areas.append(next(self._further))
            except _NextRound:
                self._ended = True
            except StopIteration:
                self._ended = self.complete = True
        return self._areas[place] if place < len(self._areas) else None


def _order(model: Allocator, cpu: int, lists: Lists) -> Iterator[tuple[Pool, int]]:
    revision = model.revision
    return (revision.order if model.dynamic else revision.static_order)(_PoolsByRound(model, lists), cpu)
