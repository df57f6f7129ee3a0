"""Leaked slots: free in the model, never handed out by the kernel.

If the kernel's search skipped slots that the model would have taken, one of them is not free in the kernel. If it
stayed free in the model, every later search would disagree again. Which of the skipped slots it is is not known yet.
So one is held (marked as in use in the model) with which this search would have agreed; if a later operation does not
agree with that, another one is held instead. This way one leaked slot is one disagreement.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from swiotlb_top.allocator import Allocator, Limits, Mapping, Pool, Request
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE
from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Area
from swiotlb_top.verify.operations.observed import ObservedArea
from swiotlb_top.verify.operations.slot_search import SlotSearch

_MAX_LEAKS: Final = 256
"""How many leaked slots are held at one time. A leak beyond that may be reported more than once."""
_MAX_IN_VAIN: Final = 20_000
"""How many slots may turn out not to have leaked, and how many corrections of a guess may explain nothing. Of a kernel
that has so many disagreements no more leaks are looked for, and no guess is corrected."""
_ONE_SLOT: Final = Request(0, IO_TLB_SIZE - 1, 0, Limits())
"""A request for one slot, of a size that no mapping has, so that no release fits it."""


@dataclass(slots=True, eq=False)
class _LeakedSlot:
    """One leaked slot, of which it is only known that it is one of ``slots``."""

    pool: Pool
    slots: list[int]
    """The candidates: numbers of slots, all in one area."""
    held: Mapping | None = None
    """The mapping in the model that keeps the likeliest candidate from being found."""

    @property
    def area(self) -> Area:
        return self.pool, self.slots[0] // self.pool.area_nslabs

    def hold(self, slot: int) -> None:
        """Mark a slot, which must be free, as in use. The area's ``index`` stays."""
        pool, area = self.area
        index = pool.area_index[area]
        self.held = pool.take(slot, _ONE_SLOT, UNKNOWN_DEVICE).mapping
        pool.area_index[area] = index

    def let_go(self) -> Mapping | None:
        """Free the slot that is held.

        :returns: what was held; None if nothing was, or the slot was released or given out since.
        """
        held = self.held if self.is_held else None
        if held is not None:
            self.pool.release(held)
        self.held = None
        return held

    @property
    def is_held(self) -> bool:
        """Whether a slot is held, and still the one that was marked."""
        held, pool = self.held, self.pool
        return held is not None and pool.find_mapping(slot_addr(pool.start, held.slot), 0) is held

    def hold_any(self) -> bool:
        """Hold the first candidate that is free, and forget those that are not.

        :returns: whether there is one.
        """
        self.slots = [slot for slot in self.slots if self.pool.free_run(slot)]
        if self.slots:
            self.hold(self.slots[0])
        return bool(self.slots)

    def fits(self, slot: int, operation: Operation, model: Allocator) -> bool:
        """Whether an operation would agree if this slot were the leaked one."""
        if not self.pool.free_run(slot):
            return False
        self.hold(slot)
        agrees = _agrees(operation, model)
        self.let_go()
        return agrees

    def narrow(self, operation: Operation, model: Allocator) -> bool:
        """Keep only the candidates with which an operation agrees, and hold the first of them.

        :returns: whether there are any; if not, nothing changes.
        """
        fitting = [slot for slot in self.slots if self.fits(slot, operation, model)]
        if fitting:
            self.slots = fitting
            self.hold(fitting[0])
        return bool(fitting)


class LeakedSlots:
    """All leaked slots that are known."""

    def __init__(self) -> None:
        self._leaks: list[_LeakedSlot] = []
        self._in_vain = 0

    def has_leak_in(self, area: Area) -> bool:
        """Whether a slot of an area is held."""
        return any(leak.area == area for leak in self._leaks)

    def explain(self, operation: Operation, model: Allocator) -> bool:
        """Try to explain a disagreement by a wrong guess: another slot leaked than the one that is held, or none.

        :param operation: one that does not agree.
        :returns: whether it agrees after the guess was corrected.
        """
        areas = set(operation.areas(model)) if self._leaks else ()
        here = [leak for leak in self._leaks if leak.area in areas]
        if here and isinstance(operation, ObservedArea):
            return self._match_observed(operation, here, model)
        for leak in here:
            if self._in_vain >= _MAX_IN_VAIN:
                return False
            before = leak.let_go()
            if leak.narrow(operation, model):
                return True
            if _agrees(operation, model):
                self._leaks.remove(leak)  # none of the candidates leaked
                return True
            self._in_vain += 1
            if before is not None:
                leak.hold(before.slot)
        return False

    def _match_observed(self, observed: ObservedArea, here: list[_LeakedSlot], model: Allocator) -> bool:
        """Let an observed area say which slots leaked.

        :param here: the leaked slots in this area.
        :returns: whether it agrees if other slots of the area leaked, no more than were known to have; then they are
            held.
        """
        before = [(leak, leak.let_go()) for leak in here]
        shown = [_LeakedSlot(observed.pool, [slot]) for slot in observed.missing_slots()]
        for leak in shown:
            leak.hold_any()
        if len(shown) <= len(here) and _agrees(observed, model):
            self._leaks = [leak for leak in self._leaks if leak not in here] + shown
            return True
        for leak in shown:
            leak.let_go()
        for leak, held in before:
            if held is not None:
                leak.hold(held.slot)
        return False

    def drop_refuted(self, group: Iterable[Operation]) -> bool:
        """Correct the guess for slots that searches of a group have taken: they did not leak.

        :returns: whether there were any.
        """
        searches = [search for search in group if isinstance(search, SlotSearch) and search.slot >= 0]
        wrong = [leak for leak in self._leaks if leak.held and _is_taken(leak.pool, leak.held.slot, searches)]
        for leak in wrong:
            leak.let_go()
            leak.slots = [slot for slot in leak.slots if not _is_taken(leak.pool, slot, searches)]
        self.hold_all()
        return bool(wrong)

    def suspect(self, search: SlotSearch, model: Allocator) -> None:
        """Hold a slot that may have leaked, because a search disagrees: one of those that the model would have taken.

        :param search: it is not applied yet.
        """
        if search.unchecked or len(self._leaks) >= _MAX_LEAKS or self._in_vain >= _MAX_IN_VAIN:
            return
        found = model.find_slots(search.cpu, search.request)
        if found is None:
            return
        pool, slot = found
        # No mapping can begin behind the last area, so that no slot there can be held.
        leak = _LeakedSlot(pool, list(range(slot, min(slot + search.nslots, pool.nareas * pool.area_nslabs))))
        if leak.narrow(search, model):
            leak.let_go()  # others of this group have yet to find their own slots; hold_all() comes after them
            self._leaks.append(leak)
        else:
            self._in_vain += len(leak.slots)

    def hold_all(self) -> None:
        """For each leaked slot of which none is held now, hold a candidate that is free; forget it if none is."""
        self._leaks = [leak for leak in self._leaks if leak.is_held or leak.hold_any()]


def _agrees(operation: Operation, model: Allocator) -> bool:
    undo = operation.apply_if_legal(model)
    if undo is not None:
        undo()
    return undo is not None


def _is_taken(pool: Pool, slot: int, searches: list[SlotSearch]) -> bool:
    return any(search.pool is pool and slot in range(search.slot, search.slot + search.nslots) for search in searches)
