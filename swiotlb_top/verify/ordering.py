"""Finding an order of overlapping operations that the reference accepts.

Probe times are not the points at which operations took effect; an operation took effect somewhere
in its closed interval.  Of operations that overlap, orders have to be tried (Wing & Gong's search,
with Lowe's memory: what was done so far, and where each area is searched next, decide what can
still come, so no such state is looked at twice).

A search for slots is not one step: it asks one area after another, each under its own lock.
First each search is tried as one step.  Where no order does, every area it asked in vain may have
been full at another moment than that at which it found its slots, and only the order of those
moments is fixed.  Reading an area early never takes a possibility away, so readings are made at
the first moment they fit, and only the taking of slots is tried in different places.

More orders than one may do, and they may begin from more than one place: what they leave in doubt
is :mod:`swiotlb_top.verify.uncertain`'s.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, TypeAlias

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.asking import Lists, Way, way
from swiotlb_top.verify.operations import AddPool, Operation, Release, Take, Undo
from swiotlb_top.verify.uncertain import Start, Uncertain, begin_from, starts, uncertain_after

DEFAULT_BUDGET: Final = 20_000
_AVERAGE_GROUP: Final = 400
"""Operations; a group with more has a budget in proportion."""

Progress: TypeAlias = dict[tuple[int, Lists], int]
"""For each CPU a search may have begun on and the lists its rounds may have gone by: how many areas
it has asked in vain."""


@dataclass(slots=True)
class Outcome:
    """What became of a group of operations. ``order`` is empty where none was found; ``exhausted``
    then says whether the search gave up before it had proved that there is none."""

    order: list[Operation] = field(default_factory=list)
    exhausted: bool = False
    steps: int = 0
    dead_ends: int = 0
    """Orders that could not be gone on with."""
    furthest: list[Operation] = field(default_factory=list)
    """The longest of these."""
    uncertain: Uncertain = field(default_factory=dict)
    """Where other orders leave something else; empty for an area that is certain now."""


def arrange(
    world: Allocator,
    group: list[Operation],
    budget: int = DEFAULT_BUDGET,
    excused: Operation | None = None,
    uncertain: Uncertain | None = None,
) -> Outcome:
    """Find an order the reference accepts and carry it out on ``world``.

    Where none is found, or one operation is excused, ``world`` is left as it was.

    :param group: operations that overlap, sorted by exit.
    :param budget: steps to try at most, in each search; a long group has more.
    :param excused: an operation that need not be as the reference's: what it did is imposed.
    :param uncertain: from where areas may be searched next besides where ``world`` has it.
    """
    outcome = Outcome()
    budget = max(budget, budget // _AVERAGE_GROUP * len(group))
    possible, all_of_them = starts(uncertain or {}, group, world)
    for start in possible:
        begin_from(start)
        for whole in (True, False) if len(group) > 1 else (True,):
            search = _Search(world, group, budget, whole, excused)
            found = search.run()
            outcome.steps += search.steps
            outcome.dead_ends += search.dead_ends
            if found:
                outcome.order = list(search.order)
                if excused is not None:
                    search.rewind()
                    begin_from(possible[0])
                elif len(possible) > 1 or uncertain_after(group):
                    search.rewind()
                    outcome.uncertain = _other_endings(world, group, budget, outcome, start, possible)
                return outcome
            outcome.exhausted |= search.gave_up
            outcome.furthest = max(outcome.furthest, search.furthest, key=len)
    begin_from(possible[0])
    outcome.exhausted |= not all_of_them
    return outcome


def in_likely_order(group: list[Operation]) -> Iterator[Operation]:
    """An order for what is not proved to have one: as they ended, but new pools first, and what a release
    freed is free before it is taken.

    To be carried out while it is read: which mapping is in the way is looked up when its turn comes.
    """
    yield from (operation for operation in group if isinstance(operation, AddPool))
    waiting = [operation for operation in group if isinstance(operation, Release)]
    for operation in group:
        if isinstance(operation, Take):
            for release in [release for release in waiting if _made_room(release, operation)]:
                waiting.remove(release)
                yield release
            yield operation
        elif isinstance(operation, Release) and operation in waiting:
            waiting.remove(operation)
            yield operation


def _made_room(release: Release, take: Take) -> bool:
    """Whether a mapping is in the way of a search's slots now that was being released meanwhile."""
    begun_ns = release.exit_ns if release.unseen else release.entry_ns
    if release.pool is not take.pool or begun_ns > take.exit_ns:
        return False
    mapping = release.pool.find_mapping(release.tlb_addr, release.min_align_mask)
    return mapping is not None and take.slot < mapping.slot + mapping.nslots and mapping.slot < take.slot + take.nslots


def _other_endings(
    world: Allocator, group: list[Operation], budget: int, outcome: Outcome, start: Start, possible: list[Start]
) -> Uncertain:
    """Try all orders from wherever they may begin, then carry out the one that was found, from ``start``;
    what it leaves, and others do not."""
    endings: Uncertain = {area: set() for area in start}
    gave_up = False
    for other in possible:
        begin_from(other)
        search = _Search(world, group, budget, whole=False, excused=None)
        areas = [*start, *(area for area in search.taken_from if area[0] in world.pools)]
        while search.run():
            for pool, area in areas:
                endings.setdefault((pool, area), set()).add(pool.area_index[area])
        outcome.steps += search.steps
        gave_up |= search.gave_up
    if gave_up:
        endings = {area: {other[area] for other in possible} for area in start} | uncertain_after(group)
    begin_from(start)
    for operation in outcome.order:
        operation.impose(world)
    return {(pool, area): indices - {pool.area_index[area]} for (pool, area), indices in endings.items()}


@dataclass(slots=True)
class _Place:
    """A place in the search. What is done is all that was entered but what can be next."""

    entered: int
    """How many operations were, before anything that is not done was over."""
    can_be_next: tuple[int, ...]
    """Those of them that are not done, as they ended."""
    untried: Iterator[int]
    progress: dict[int, Progress]
    led_on: bool = False


class _Search:
    """One depth-first search; ``whole`` takes each search for slots as one step."""

    def __init__(
        self, world: Allocator, group: list[Operation], budget: int, whole: bool, excused: Operation | None
    ) -> None:
        self.order: list[Operation] = []
        self.furthest: list[Operation] = []
        self.steps = 0
        self.dead_ends = 0
        self.gave_up = False
        self._undo: list[Undo] = []
        self._world = world
        self._group = group
        self._budget = budget
        self._whole = whole
        self._imposed = {operation for operation in group if operation.given or operation is excused}
        self._by_entry = sorted(range(len(group)), key=lambda at: group[at].entry_ns)
        # Of those entered later than the first few, when the first was over.
        exits = accumulate((group[at].exit_ns for at in reversed(self._by_entry)), min)
        self._first_exits = list(exits)[::-1]
        takes = [operation for operation in group if isinstance(operation, Take)]
        self.taken_from = {(take.pool, take.area) for take in takes if take.pool and 0 <= take.area < take.pool.nareas}
        self._grows = any(isinstance(operation, AddPool) for operation in group)
        self._seen: set[Hashable] = set()
        self._ways: dict[tuple[Take, int, Lists], Way] = {}
        self._places = [self._place(0, (), {})]

    def run(self) -> bool:
        """Whether an order was found, one that ends otherwise than those before; if not, nothing is left done."""
        places, everything = self._places, len(self._group)
        if len(self.order) == everything:
            self._back()
        while places:
            place = places[-1]
            for at in place.untried:
                self.steps += 1
                if self.steps > self._budget:
                    self.gave_up = True
                    self.rewind()
                    return False
                undo = self._step(at, place.progress)
                if undo is None:
                    continue
                self._undo.append(undo)
                self.order.append(self._group[at])
                place.led_on = True
                if len(self.order) == everything:
                    return True
                further = self._place(
                    place.entered, (other for other in place.can_be_next if other != at), place.progress
                )
                if self._is_new(further):
                    places.append(further)
                    break
                self._back()
            else:
                self.dead_ends += not place.led_on
                if len(self.order) > len(self.furthest):
                    self.furthest = list(self.order)
                places.pop()
                if places:
                    self._back()
        return False

    def rewind(self) -> None:
        """Take back everything done so far."""
        while self._undo:
            self._back()

    def _back(self) -> None:
        self._undo.pop()()
        self.order.pop()

    def _place(self, entered: int, not_done: Iterable[int], progress: dict[int, Progress]) -> _Place:
        """Where so many were entered before, and of these some are not done.

        What can be next was entered before anything else that is not done was over.
        """
        group, by_entry = self._group, self._by_entry
        can_be_next = list(not_done)
        exits = self._first_exits[entered : entered + 1]
        if can_be_next:
            exits.append(group[can_be_next[0]].exit_ns)
        first_exit_ns = min(exits)
        before = entered
        while entered < len(group) and group[by_entry[entered]].entry_ns <= first_exit_ns:
            entered += 1
        if entered > before:
            can_be_next += by_entry[before:entered]
            can_be_next.sort()  # as they ended
        if not self._whole:
            progress = self._read_on(can_be_next, progress)
        return _Place(entered, tuple(can_be_next), iter(can_be_next), progress)

    def _is_new(self, place: _Place) -> bool:
        """Whether this state has not been looked at. Which slots are free follows from what is done."""
        key: Hashable = (
            place.entered,
            place.can_be_next,
            tuple(pool.area_index[area] for pool, area in self.taken_from),
            self._world.pools if self._grows else None,
            None if self._whole else tuple((at, frozenset(ways.items())) for at, ways in place.progress.items()),
        )
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _step(self, at: int, progress: dict[int, Progress]) -> Undo | None:
        operation, world = self._group[at], self._world
        if operation in self._imposed:
            return operation.impose(world)
        if self._whole or not isinstance(operation, Take):
            return operation.attempt(world)
        listed = operation.listed(world)
        if not any(self._came_to_it(operation, *on, asked, listed) for on, asked in progress[at].items()):
            return None
        if not listed:
            return operation.attempt_beyond_pools(world)
        return operation.attempt_in_its_area(world)

    def _came_to_it(self, take: Take, cpu: int, lists: Lists, asked: int, listed: bool) -> bool:
        """Whether all was asked in vain before the area it found slots in, or all there is."""
        its_way = self._way(take, cpu, lists)
        return its_way.whole and its_way.reaches == listed and asked == len(its_way.areas)

    def _way(self, take: Take, cpu: int, lists: Lists) -> Way:
        known = self._ways.get((take, cpu, lists))
        if known is None:
            known = self._ways[take, cpu, lists] = way(self._world, take, cpu, lists)
        return known

    def _read_on(self, under_way: list[int], before: dict[int, Progress]) -> dict[int, Progress]:
        """Let every search that can be under way ask on, as far as what it asks is full now."""
        progress = {at: ways for at, ways in before.items() if at in under_way}
        for at in under_way:
            operation = self._group[at]
            if isinstance(operation, Take) and operation not in self._imposed:
                ways: Progress = {}
                begun = {(cpu, ()): 0 for cpu in (operation.cpu, *operation.elsewhere)}
                for (cpu, lists), asked in before.get(at, begun).items():
                    self._ask_on(operation, cpu, lists, asked, ways)
                progress[at] = ways
        return progress

    def _ask_on(self, take: Take, cpu: int, lists: Lists, asked: int, ways: Progress) -> None:
        while True:
            its_way = self._way(take, cpu, lists)
            areas = its_way.areas
            while asked < len(areas) and areas[asked][0].search(areas[asked][1], take.request) < 0:
                asked += 1
            if asked < len(areas) or its_way.whole:
                ways[cpu, lists] = max(asked, ways.get((cpu, lists), 0))
                return
            if self._grows:
                ways[cpu, lists] = asked  # the next round may as well begin later, with a longer list
            lists = (*lists, self._world.pools)
