"""A depth-first search for the orders of overlapping operations that the reference accepts.

An operation took effect somewhere in its closed interval (Wing & Gong's search, with Lowe's memory:
what was done so far, and where each area is searched next, decide what can still come, so no such
state is looked at twice).  Of orders that leave the same, few are tried:

- A release waits until something needs it: a search that found these slots, or an operation that began
  when it was over.  Fewer free slots never keep another search from the slots it found, nor from finding none.
- What changes nothing for the others, a failed search or a transient pool's, is done as soon as it can be.
- Searches of areas that the others do not ask are not interleaved with these.

A search for slots is one step, or it asks one area after another, each at a moment of its own
(:mod:`swiotlb_top.verify.linearize.area_scan`).  Reading an area early never takes a possibility away, so readings are
made at the first moment they fit, and only the taking of slots is tried in different places.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, KeysView
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Final, TypeAlias

from swiotlb_top.allocator import Allocator, Pool, Revision
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.allocator.pool import Mapping
from swiotlb_top.verify.linearize.area_scan import AreaScans, ScanProgress
from swiotlb_top.verify.operations.base import Operation, Undo
from swiotlb_top.verify.operations.domains import Area, Domain, domain_of, touched
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch

WantedIndices: TypeAlias = dict[Area, set[int]]

_WIDE_SHIFT: Final = 5
"""A move looks at all that can be next, and at every place where mappings of several sizes begin. Where these are
more than 2 to this, it counts as several."""
_NO_ROOM_NEEDED: Final[tuple[tuple[int, ...], ...]] = ((),)


@dataclass(slots=True)
class _Place:
    """A place in the search. What is done is all that was entered but what can be next."""

    entered: int
    """How many operations were, before anything that is not done was over."""
    can_be_next: list[int]
    """Those of them that are not done, as they ended."""
    progress: dict[int, ScanProgress]
    depth: int
    """How many are done."""
    moves: Iterator[tuple[int, ...]]
    led_on: bool = False


class Checker:
    """One search.

    :param group: operations that overlap, sorted by exit.
    :param budget: moves to try at most.
    :param whole: each search for slots is one step.
    :param excused: operations that need not be as the reference's: what they did is imposed.
    :param wanted: ``index`` values of areas; only orders that may leave one of these are looked for. Read while
        it is searched, so that what was found can be taken out.
    """

    def __init__(
        self,
        model: Allocator,
        group: list[Operation],
        budget: int,
        *,
        whole: bool,
        excused: Collection[Operation] = (),
        wanted: WantedIndices | None = None,
    ) -> None:
        self.furthest: list[Operation] = []
        """The longest order that could not be gone on with."""
        self.steps = 0
        self.dead_ends = 0
        self.gave_up = False
        self._order: list[int] = []
        self._undo: list[Undo] = []
        self._model = model
        self._group = group
        self._budget = budget
        self._imposed = {at for at, operation in enumerate(group) if operation.unchecked or operation in excused}
        self._by_entry = sorted(range(len(group)), key=lambda at: group[at].entry_ns)
        # Of those entered later than the first few, when the first was over.
        exits = accumulate((group[at].exit_ns for at in reversed(self._by_entry)), min)
        self._first_exits = list(exits)[::-1]
        self._leaving: dict[Area, dict[int, list[int]]] = {}
        """For an area, the searches that leave an ``index``."""
        for at, take in enumerate(group):
            if isinstance(take, SlotSearch) and take.pool and 0 <= take.area < take.pool.nareas:
                self._leaving.setdefault((take.pool, take.area), {}).setdefault(take.next_index, []).append(at)
        self._ambiguous = _taken_with_several_sizes(group, model.revision)
        self._grows = any(isinstance(operation, AddPool) for operation in group)
        self._asking = None if whole else AreaScans(model, group, self._imposed)
        self._wait = self._that_can_wait()
        self._crowded = False
        self._touched: dict[int, KeysView[Domain]] = {}
        self._wanted = wanted
        self._not_done = [True] * len(group)
        self._begin()

    @property
    def order(self) -> list[Operation]:
        """What is done."""
        return [self._group[at] for at in self._order]

    def run(self) -> bool:
        """Whether an order was found, one that ends otherwise than those before; if not, nothing is left done."""
        everything = len(self._group)
        if len(self._order) == everything:
            self._back_to(self._places[-1].depth)
        while self._places:
            place = self._places[-1]
            move = next(place.moves, None)
            if move is None:
                self._leave()
                continue
            if self.steps >= self._budget:
                self.gave_up = True
                self.rewind()
                return False
            self.steps += 1 + (len(place.can_be_next) + len(self._ambiguous) >> _WIDE_SHIFT)
            if not self._do(move, place):
                continue
            place.led_on = True
            if len(self._order) == everything:
                return True
            if self._wanted is not None and not self._may_leave(self._wanted):
                self._back_to(place.depth)
                continue
            further = self._place(place, move)
            if self._is_new(further):
                self._places.append(further)
            else:
                self._back_to(place.depth)
        return False

    def rewind(self) -> None:
        """Take back everything done so far."""
        self._back_to(0)

    def _begin(self) -> None:
        self._seen: set[Hashable] = set()
        self._places = [self._place()]

    def _begin_again(self) -> None:
        """A release was missed that was not thought to be needed: let none wait."""
        self.rewind()
        self._crowded = False
        self._wait = {}
        self._begin()

    def _back_to(self, depth: int) -> None:
        while len(self._undo) > depth:
            self._undo.pop()()
            self._not_done[self._order.pop()] = True

    def _leave(self) -> None:
        """All that can be next was tried."""
        if self._crowded:
            self._begin_again()
            return
        place = self._places.pop()
        if not place.led_on:
            self.dead_ends += 1
            self._remember(place)
        if self._places:
            self._back_to(self._places[-1].depth)

    def _remember(self, place: _Place) -> None:
        """This order goes no further; how far it went."""
        if len(self._order) + len(place.can_be_next) <= len(self.furthest):
            return
        # What waits could be done, and is not to blame.
        waiting = (self._wait[at] for at in place.can_be_next if at in self._wait)
        done = [*self.order, *(release for release in waiting if release.mapping_at_address() is not None)]
        self.furthest = max(self.furthest, done, key=len)

    # ---- places ----------------------------------------------------------

    def _place(self, before: _Place | None = None, move: tuple[int, ...] = ()) -> _Place:
        """Where a move leads; at first, where nothing is done.

        What can be next was entered before anything else that is not done was over.
        """
        group, by_entry = self._group, self._by_entry
        entered = before.entered if before else 0
        can_be_next = [at for at in before.can_be_next if at not in move] if before else []
        exits = self._first_exits[entered : entered + 1]
        if can_be_next:
            exits.append(group[can_be_next[0]].exit_ns)
        first_exit_ns = min(exits)
        first = entered
        while entered < len(group) and group[by_entry[entered]].entry_ns <= first_exit_ns:
            entered += 1
        if entered > first:
            can_be_next += by_entry[first:entered]
            can_be_next.sort()  # as they ended
        progress: dict[int, ScanProgress] = {}
        if self._asking is not None:
            done = group[move[-1]] if move else None
            taken = domain_of(done.pool, done.area) if isinstance(done, SlotSearch) and done.pool else None
            progress = self._asking.read_on(can_be_next, before.progress if before else {}, taken)
        return _Place(entered, can_be_next, progress, len(self._undo), self._moves(entered, can_be_next))

    def _may_leave(self, wanted: WantedIndices) -> bool:
        """Whether something that is wanted can still be left: what leaves it is not done, or was the last."""
        for area, indices in wanted.items():
            if not indices:
                continue
            last = self._leaving.get(area, {})
            here = [at for ats in last.values() for at in ats if self._not_done[at]]
            if here:
                if any(self._not_done[at] for index in indices for at in last.get(index, ())):
                    return True
            elif area[0].area_index[area[1]] in indices:
                return True
        return False

    def _is_new(self, place: _Place) -> bool:
        """Whether this state has not been looked at. Which slots are free follows from what is done, but where
        mappings of several sizes begin in one place."""
        key: Hashable = (
            place.entered,
            tuple(place.can_be_next),
            tuple([pool.area_index[area] for pool, area in self._leaving]),
            tuple([pool.find_mapping(tlb_addr, 0) for pool, tlb_addr in self._ambiguous]),
            self._model.pools if self._grows else None,
            tuple(place.progress.items()),
        )
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    # ---- moves -----------------------------------------------------------

    def _moves(self, entered: int, can_be_next: list[int]) -> Iterator[tuple[int, ...]]:
        """What can be done next: an operation, behind releases that make room for it."""
        others = [at for at in can_be_next if at not in self._wait]
        among = self._among_themselves(entered, others)
        if len(others) == 0 or (can_be_next[0] in self._wait and entered < len(self._group) and among is None):
            yield (can_be_next[0],)  # something waits for that to be over
        for at in others if among is None else among:
            for room in self._making_room(at, can_be_next):
                yield (*room, at)

    def _that_can_wait(self) -> dict[int, Release]:
        """Releases that need not be done before something needs them."""
        group = self._group
        # What is imposed may take another mapping's slots for its own.
        imposed = {release.slot_set for at in self._imposed if isinstance(release := group[at], Release)}
        return {
            at: operation
            for at, operation in enumerate(group)
            if isinstance(operation, Release) and at not in self._imposed and operation.slot_set not in imposed
        }

    def _making_room(self, at: int, can_be_next: list[int]) -> Iterable[tuple[int, ...]]:
        """Releases to be done for an operation's slots to be free; more than one choice where one place is
        released more than once."""
        take, wait = self._group[at], self._wait
        if not wait or not isinstance(take, SlotSearch) or take.pool is None:
            return _NO_ROOM_NEEDED
        pool, slot, nslots = take.pool, take.slot, take.nslots
        if not 0 <= slot < pool.nslabs or pool.free_run(slot) >= nslots:
            return _NO_ROOM_NEEDED
        in_the_way: dict[Mapping, list[int]] = {}
        for other in can_be_next:
            release = wait.get(other)
            if release is None or release.pool is not pool:
                continue
            mapping = release.mapping_at_address()
            if mapping and mapping.slot < slot + nslots and slot < mapping.slot + mapping.nslots:
                in_the_way.setdefault(mapping, []).append(other)
        return product(*in_the_way.values())

    def _among_themselves(self, entered: int, others: list[int]) -> list[int] | None:
        """Those of what can be next that nothing but each other has to do with, now and before they are done;
        None where that is nearly all of them."""
        if len(others) < 3 or self._grows:
            return None
        group, touches = self._group, self._touches
        mine, rest = others[:1], others[1:]
        areas = set(touches(mine[0]))
        grew = True
        while grew and rest:
            with_them = [at for at in rest if not areas.isdisjoint(touches(at))]
            grew = bool(with_them)
            mine += with_them
            rest = [at for at in rest if at not in with_them]
            areas.update(*(touches(at) for at in with_them))
        first_exit_ns = group[min(mine)].exit_ns
        for at in self._by_entry[entered:]:
            if group[at].entry_ns > first_exit_ns:
                break
            if not areas.isdisjoint(touches(at)):
                return None
        return sorted(mine)

    def _touches(self, at: int) -> KeysView[Domain]:
        known = self._touched.get(at)
        if known is None:
            known = self._touched[at] = touched(self._group[at], self._model)
        return known

    # ---- steps -----------------------------------------------------------

    def _do(self, move: tuple[int, ...], place: _Place) -> bool:
        """Make a move; whether the reference makes it too. If not, nothing is done."""
        group = self._group
        *room, last = move
        for at in room:
            undo = group[at].apply_if_legal(self._model)
            if undo is None:
                self._back_to(place.depth)
                return False
            self._done(at, undo)
        undo = self._step(last, place.progress)
        operation = group[last]
        if undo is None:
            if isinstance(operation, SlotSearch) and self._wait and operation.hidden_by_area_used():
                self._crowded = True
            self._back_to(place.depth)
            return False
        self._done(last, undo)
        if isinstance(operation, SlotSearch) and not operation.is_in_listed_pool(self._model):
            place.moves = iter(())  # whatever comes before it might as well come after
        return True

    def _done(self, at: int, undo: Undo) -> None:
        self._undo.append(undo)
        self._order.append(at)
        self._not_done[at] = False

    def _step(self, at: int, progress: dict[int, ScanProgress]) -> Undo | None:
        operation, model = self._group[at], self._model
        if at in self._imposed:
            return operation.apply_forced(model)
        if self._asking is None or not isinstance(operation, SlotSearch):
            return operation.apply_if_legal(model)
        if not self._asking.arrived(at, progress):
            return None
        if operation.is_in_listed_pool(model):
            return operation.apply_in_its_area(model)
        return operation.apply_beyond_pools(model)


def _taken_with_several_sizes(group: list[Operation], revision: Revision) -> list[tuple[Pool, int]]:
    """Pools and addresses of buffers: which search came last says how much is in use there."""
    sizes: dict[tuple[Pool, int], set[int]] = {}
    for take in group:
        if isinstance(take, SlotSearch) and take.pool and take.slot >= 0:
            begins = take.slot + revision.pad_slots(take.request)
            sizes.setdefault((take.pool, begins), set()).add(take.request.alloc_size_bytes)
    return [(pool, slot_addr(pool.start, slot)) for (pool, slot), bytes_ in sizes.items() if len(bytes_) > 1]
