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

More orders than one may do.  They leave the same slots free and the same mappings, but not always
the same place from which an area is searched next: that is then uncertain, until a search shows it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, TypeAlias

from swiotlb_top.allocator import Allocator, Pool
from swiotlb_top.verify.asking import Lists, Way, way
from swiotlb_top.verify.operations import AddPool, Operation, Release, Take, Undo, may_be_last

DEFAULT_BUDGET: Final = 20_000
_AVERAGE_GROUP: Final = 400
"""Operations; a group with more has a budget in proportion."""

Progress: TypeAlias = dict[tuple[int, Lists], int]
"""For each CPU a search may have begun on and the lists its rounds may have gone by: how many areas
it has asked in vain."""

Uncertain: TypeAlias = dict[tuple[Pool, int], set[int]]
"""For a pool's area, ``index`` values it may have as well as the one it has."""


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
    """Where other orders leave something else."""


def arrange(
    world: Allocator, group: list[Operation], budget: int = DEFAULT_BUDGET, excused: Operation | None = None
) -> Outcome:
    """Find an order the reference accepts and carry it out on ``world``.

    Where none is found, or one operation is excused, ``world`` is left as it was.

    :param group: operations that overlap, sorted by exit.
    :param budget: steps to try at most, in each of the two searches; a long group has more.
    :param excused: an operation that need not be as the reference's: what it did is imposed.
    """
    outcome = Outcome()
    for whole in (True, False):
        search = _Search(world, group, max(budget, budget // _AVERAGE_GROUP * len(group)), whole, excused)
        found = search.run()
        outcome.steps += search.steps
        outcome.dead_ends += search.dead_ends
        if found:
            outcome.order = list(search.order)
            if excused is not None:
                search.rewind()
            elif uncertain_after(operation for operation in group if isinstance(operation, Take)):
                search.rewind()
                outcome.uncertain = _other_endings(world, group, budget, outcome)
            return outcome
        outcome.exhausted |= search.gave_up
        outcome.furthest = max(outcome.furthest, search.furthest, key=len)
    return outcome


def uncertain_after(takes: Iterable[Take]) -> Uncertain:
    """Where areas may be searched next, as far as times tell, besides where the last to end left it."""
    by_area: dict[tuple[Pool, int], list[Take]] = {}
    for take in takes:
        if take.pool is not None and take.slot >= 0:
            by_area.setdefault((take.pool, take.area), []).append(take)
    uncertain = {area: {take.next_index for take in may_be_last(here)} for area, here in by_area.items()}
    return {area: indices for area, indices in uncertain.items() if len(indices) > 1}


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
    if release.pool is not take.pool or release.entry_ns > take.exit_ns:
        return False
    mapping = release.pool.find_mapping(release.tlb_addr, release.min_align_mask)
    return mapping is not None and take.slot < mapping.slot + mapping.nslots and mapping.slot < take.slot + take.nslots


def _other_endings(world: Allocator, group: list[Operation], budget: int, outcome: Outcome) -> Uncertain:
    """Try all orders, then carry out the one that was found; what it leaves, and others do not."""
    search = _Search(world, group, budget, whole=False, excused=None)
    areas = [area for area in search.taken_from if area[0] in world.pools]
    endings: Uncertain = {area: set() for area in areas}
    while search.run():
        for pool, area in areas:
            endings[pool, area].add(pool.area_index[area])
    outcome.steps += search.steps
    if search.gave_up:
        endings = uncertain_after(operation for operation in group if isinstance(operation, Take))
    for operation in outcome.order:
        operation.impose(world)
    return {
        (pool, area): others
        for (pool, area), indices in endings.items()
        if (others := indices - {pool.area_index[area]})
    }


@dataclass(slots=True)
class _Place:
    """A place in the search: what is done, a bit an operation, and what to try next."""

    done: int
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
        self._excused = excused
        # From each place on, the earliest entry: behind it nothing can come first.
        entries = accumulate((operation.entry_ns for operation in reversed(group)), min)
        self._earliest = list(entries)[::-1]
        takes = [operation for operation in group if isinstance(operation, Take)]
        self.taken_from = {(take.pool, take.area) for take in takes if take.pool and 0 <= take.area < take.pool.nareas}
        self._grows = any(isinstance(operation, AddPool) for operation in group)
        self._seen: set[Hashable] = set()
        self._ways: dict[tuple[Take, int, Lists], Way] = {}
        self._places = [self._place(0, {})]

    def run(self) -> bool:
        """Whether an order was found, one that ends otherwise than those before; if not, nothing is left done."""
        everything = (1 << len(self._group)) - 1
        places = self._places
        if len(self.order) == len(self._group):
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
                done = place.done | 1 << at
                if done == everything:
                    return True
                further = self._place(done, place.progress)
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

    def _place(self, done: int, progress: dict[int, Progress]) -> _Place:
        can_be_next = self._can_be_next(done)
        return _Place(done, iter(can_be_next), progress if self._whole else self._read_on(can_be_next, progress))

    def _can_be_next(self, done: int) -> list[int]:
        """What is not done and was entered before anything else that is not done was over."""
        group, earliest = self._group, self._earliest
        first = (~done & (done + 1)).bit_length() - 1
        last_entry_ns = group[first].exit_ns  # sorted by exit
        found = []
        for at in range(first, len(group)):
            if earliest[at] > last_entry_ns:
                break
            if not done >> at & 1 and group[at].entry_ns <= last_entry_ns:
                found.append(at)
        return found

    def _is_new(self, place: _Place) -> bool:
        """Whether this state has not been looked at. Which slots are free follows from what is done."""
        key: Hashable = (
            place.done,
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
        if operation is self._excused:
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
            if isinstance(operation, Take) and operation is not self._excused:
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
