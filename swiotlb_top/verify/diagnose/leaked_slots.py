"""Slots that nothing has and the kernel does not give out: which these are, as far as searches tell.

Where a search passed over slots that the reference would have taken, one of them is not free, and left free it
would be found again by every search to come. Which one it is cannot be told yet: one is held with which the
search would have been as the kernel's, and where what comes later does not agree with that one, another with
which it does. So a leaked slot is told of once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from swiotlb_top.allocator import Allocator, Limits, Mapping, Pool, Request
from swiotlb_top.allocator.geometry import IO_TLB_SIZE, slot_addr
from swiotlb_top.allocator.pool import UNKNOWN_DEVICE
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Area
from swiotlb_top.verify.operations.observed import ObservedArea
from swiotlb_top.verify.operations.slot_search import SlotSearch

_MOST_LEAKS: Final = 256
"""Held at one time. What leaks beyond that may be told of more than once."""
_SLOT: Final = Request(0, IO_TLB_SIZE - 1, 0, Limits())
"""One slot, of a size that no release is of."""


@dataclass(slots=True, eq=False)
class _LeakedSlot:
    """One slot of these is not free in the kernel."""

    pool: Pool
    slots: list[int]
    held: Mapping | None = None

    @property
    def area(self) -> Area:
        return self.pool, self.slots[0] // self.pool.area_nslabs

    def hold(self, slot: int) -> None:
        pool, area = self.area
        index = pool.area_index[area]
        self.held = pool.take(slot, _SLOT, UNKNOWN_DEVICE).mapping
        pool.area_index[area] = index

    def let_go(self) -> Mapping | None:
        """What was held until now, if nothing took it."""
        held = self.held if self.is_held else None
        if held is not None:
            self.pool.release(held)
        self.held = None
        return held

    @property
    def is_held(self) -> bool:
        held, pool = self.held, self.pool
        return held is not None and pool.find_mapping(slot_addr(pool.start, held.slot), 0) is held

    def hold_any(self) -> bool:
        """Hold the first that is free, if one is."""
        self.slots = [slot for slot in self.slots if self.pool.free_run(slot)]
        if self.slots:
            self.hold(self.slots[0])
        return bool(self.slots)

    def fits(self, slot: int, operation: Operation, model: Allocator) -> bool:
        """Whether the operation would agree if it were this one."""
        if not self.pool.free_run(slot):
            return False
        self.hold(slot)
        agrees = _agrees(operation, model)
        self.let_go()
        return agrees

    def narrow(self, operation: Operation, model: Allocator) -> bool:
        """Hold one of those with which the operation agrees, if there are any."""
        fitting = [slot for slot in self.slots if self.fits(slot, operation, model)]
        if fitting:
            self.slots = fitting
            self.hold(fitting[0])
        return bool(fitting)


class LeakedSlots:
    """The slots that are held."""

    def __init__(self) -> None:
        self._leaks: list[_LeakedSlot] = []

    def concern(self, area: Area) -> bool:
        """Whether a slot of an area is held."""
        return any(leak.area == area for leak in self._leaks)

    def explain(self, operation: Operation, model: Allocator) -> bool:
        """Whether an operation that does not agree does if another slot is held, or one less; then it is so."""
        areas = set(operation.areas(model)) if self._leaks else ()
        here = [leak for leak in self._leaks if leak.area in areas]
        if here and isinstance(operation, ObservedArea):
            return self._are_shown(operation, here, model)
        for leak in here:
            before = leak.let_go()
            if leak.narrow(operation, model):
                return True
            if _agrees(operation, model):
                self._leaks.remove(leak)  # it was none of these
                return True
            if before is not None:
                leak.hold(before.slot)
        return False

    def _are_shown(self, audit: ObservedArea, here: list[_LeakedSlot], model: Allocator) -> bool:
        """Whether the state that was read misses no more slots than are held; then these are."""
        before = [(leak, leak.let_go()) for leak in here]
        shown = [_LeakedSlot(audit.pool, [slot]) for slot in audit.missing_slots()]
        for leak in shown:
            leak.hold_any()
        if len(shown) <= len(here) and _agrees(audit, model):
            self._leaks = [leak for leak in self._leaks if leak not in here] + shown
            return True
        for leak in shown:
            leak.let_go()
        for leak, held in before:
            if held is not None:
                leak.hold(held.slot)
        return False

    def refuted(self, group: Iterable[Operation]) -> bool:
        """Whether a slot is held that one of the group took; then another is, or none."""
        takes = [take for take in group if isinstance(take, SlotSearch) and take.slot >= 0]
        wrong = [leak for leak in self._leaks if leak.held and _is_taken(leak.pool, leak.held.slot, takes)]
        for leak in wrong:
            leak.let_go()
            leak.slots = [slot for slot in leak.slots if not _is_taken(leak.pool, slot, takes)]
        self.hold()
        return bool(wrong)

    def suspect(self, take: SlotSearch, model: Allocator) -> None:
        """A search is about to find other slots than the reference would: one of the reference's may not be free."""
        found = None if take.unchecked else model.find_slots(take.cpu, take.request)
        if found is None:
            return
        pool, slot = found
        # No mapping begins behind the last area, so that no slot there can be held.
        leak = _LeakedSlot(pool, list(range(slot, min(slot + take.nslots, pool.nareas * pool.area_nslabs))))
        if len(self._leaks) < _MOST_LEAKS and leak.narrow(take, model):
            leak.let_go()  # what is judged with this one still has its own slots to find
            self._leaks.append(leak)

    def hold(self) -> None:
        """Hold a slot of each that has none, among those that are free."""
        self._leaks = [leak for leak in self._leaks if leak.is_held or leak.hold_any()]


def _agrees(operation: Operation, model: Allocator) -> bool:
    undo = operation.apply_if_legal(model)
    if undo is not None:
        undo()
    return undo is not None


def _is_taken(pool: Pool, slot: int, takes: list[SlotSearch]) -> bool:
    return any(take.pool is pool and slot in range(take.slot, take.slot + take.nslots) for take in takes)
