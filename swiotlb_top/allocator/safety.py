"""What must hold on every kernel, whatever its policy: the ledger of who has which slots.

Knows nothing of where a search should end. Fed with any stream of pools, mappings and releases,
it names what can never be right. Each operation costs a few integer operations a slot set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from swiotlb_top.allocator.geometry import (
    IO_TLB_SEGSIZE,
    IO_TLB_SHIFT,
    IO_TLB_SIZE,
    SLOT_SET_SHIFT,
    nr_slots,
    slot_addr,
)
from swiotlb_top.allocator.request import Request, tlb_addr
from swiotlb_top.allocator.runs import ONES

_ADDRESS_UNKNOWN: Final = -1


class Hazard(Enum):
    """What went wrong."""

    OVERLAP = "overlap"
    OUT_OF_BOUNDS = "out_of_bounds"
    MISALIGNED_ADDRESS = "misaligned_address"
    MISALIGNED_SLOT = "misaligned_slot"
    SPANS_BOUNDARY = "spans_boundary"
    NOT_MAPPED = "not_mapped"
    USED_SUM = "used_sum"
    UNKNOWN_POOL = "unknown_pool"


class Violation(NamedTuple):
    """One thing that must not be."""

    hazard: Hazard
    sentence: str


class _Live(NamedTuple):
    slot: int
    nslots: int
    tlb_addr: int


class _PoolLedger:
    __slots__ = ("live", "nslabs", "start", "used", "used_slots")

    def __init__(self, start: int, nslabs: int) -> None:
        self.start = start
        self.nslabs = nslabs
        self.used = [0] * ((nslabs + IO_TLB_SEGSIZE - 1) // IO_TLB_SEGSIZE)
        self.used_slots = 0
        self.live: dict[int, _Live] = {}


class Ledger:
    """Live mappings of any number of pools. Pools are told apart by address."""

    def __init__(self) -> None:
        self._pools: dict[int, _PoolLedger] = {}

    def add_pool(self, pool: int, start: int, nslabs: int) -> None:
        """A pool of ``nslabs`` slots from ``start`` on; what was known of one at its address is forgotten."""
        self._pools[pool] = _PoolLedger(start, nslabs)

    def remove_pool(self, pool: int) -> None:
        """The pool's memory went back, and what was mapped in it with it (a transient pool's one mapping)."""
        self._pools.pop(pool, None)

    def adopt(self, pool: int, slot: int, nslots: int, data_slot: int) -> tuple[Violation, ...]:
        """A mapping that was there before: its slots, and the one its buffer begins in."""
        ledger = self._pools.get(pool)
        if ledger is None:
            return (_unknown(pool),)
        return _occupy(ledger, slot, nslots, data_slot, _ADDRESS_UNKNOWN)

    def mapped(self, pool: int, slot: int, request: Request) -> tuple[Violation, ...]:
        """Slots were given out from ``slot`` on. The mapping stands afterwards, whatever was wrong."""
        ledger = self._pools.get(pool)
        if ledger is None:
            return (_unknown(pool),)
        nslots = nr_slots(request.alloc_size_bytes)
        address = tlb_addr(ledger.start, slot, request)
        data_slot = (address - ledger.start) >> IO_TLB_SHIFT
        first = slot_addr(ledger.start, slot)
        misplaced = _misplaced(first, slot_addr(first, nslots), address, request)
        return (*_occupy(ledger, slot, nslots, data_slot, address), *misplaced)

    def released(self, pool: int, address: int, min_align_mask: int) -> tuple[Violation, ...]:
        """The mapping whose buffer is at ``address`` was released."""
        ledger = self._pools.get(pool)
        if ledger is None:
            return (_unknown(pool),)
        data_slot = (address - (address & min_align_mask & (IO_TLB_SIZE - 1)) - ledger.start) >> IO_TLB_SHIFT
        live = ledger.live.pop(data_slot, None)
        if live is None:
            return (Violation(Hazard.NOT_MAPPED, f"release of {address:#x}, where nothing is mapped"),)
        for slot_set, slots in _by_slot_set(live.slot, live.nslots, ledger.nslabs):
            ledger.used[slot_set] &= ~slots
        ledger.used_slots -= live.nslots
        if live.tlb_addr not in (address, _ADDRESS_UNKNOWN):
            return (Violation(Hazard.NOT_MAPPED, f"release of {address:#x}, mapped was {live.tlb_addr:#x}"),)
        return ()

    def used_slots(self, pool: int) -> int:
        """Slots given out and not returned; 0 for a pool nobody told of."""
        ledger = self._pools.get(pool)
        return ledger.used_slots if ledger else 0

    def check_used(self, pool: int, used_slots: int) -> tuple[Violation, ...]:
        """Compare with what the kernel counts, at a time when nothing is under way."""
        own = self.used_slots(pool)
        if own == used_slots:
            return ()
        return (Violation(Hazard.USED_SUM, f"the kernel counts {used_slots} used slots, live mappings have {own}"),)


def _unknown(pool: int) -> Violation:
    return Violation(Hazard.UNKNOWN_POOL, f"there is no pool {pool:#x}")


def _occupy(ledger: _PoolLedger, slot: int, nslots: int, data_slot: int, address: int) -> tuple[Violation, ...]:
    """Enter a mapping, and say where it collides or sticks out."""
    taken = 0
    for slot_set, slots in _by_slot_set(slot, nslots, ledger.nslabs):
        taken += (ledger.used[slot_set] & slots).bit_count()
        ledger.used[slot_set] |= slots
    replaced = ledger.live.get(data_slot)
    ledger.used_slots += nslots - (replaced.nslots if replaced else 0)
    ledger.live[data_slot] = _Live(slot, nslots, address)
    outside = slot < 0 or slot + nslots > ledger.nslabs
    return _collisions(ledger, slot, nslots, taken, outside) if taken or outside else ()


def _collisions(ledger: _PoolLedger, slot: int, nslots: int, taken: int, outside: bool) -> tuple[Violation, ...]:
    violations = []
    if outside:
        what = f"slots {slot}..{slot + nslots - 1} of a pool of {ledger.nslabs}"
        violations.append(Violation(Hazard.OUT_OF_BOUNDS, what))
    if taken:
        what = f"slots {slot}..{slot + nslots - 1} were given out, {taken} of them are in use"
        violations.append(Violation(Hazard.OVERLAP, what))
    return tuple(violations)


def _misplaced(first: int, end: int, address: int, request: Request) -> Iterator[Violation]:
    """Alignment and segment boundary of the bytes ``first``..``end`` with the buffer at ``address``."""
    orig_addr, _, alloc_align_mask, limits = request
    if orig_addr and (address ^ orig_addr) & limits.min_align_mask:
        what = f"bounce buffer {address:#x} differs from {orig_addr:#x} in min_align_mask {limits.min_align_mask:#x}"
        yield Violation(Hazard.MISALIGNED_ADDRESS, what)
    if first & alloc_align_mask:
        what = f"first slot at {first:#x} is not aligned to alloc_align_mask {alloc_align_mask:#x}"
        yield Violation(Hazard.MISALIGNED_SLOT, what)
    if (first ^ (end - 1)) & ~limits.seg_boundary_mask:
        what = f"{first:#x}..{end - 1:#x} crosses a segment boundary (mask {limits.seg_boundary_mask:#x})"
        yield Violation(Hazard.SPANS_BOUNDARY, what)


def _by_slot_set(slot: int, nslots: int, nslabs: int) -> Sequence[tuple[int, int]]:
    """Each slot set that the slots lie in, with their bits; what lies outside the pool is left out."""
    offset = slot & (IO_TLB_SEGSIZE - 1)
    if slot >= 0 and offset + nslots <= IO_TLB_SEGSIZE and slot + nslots <= nslabs:
        return ((slot >> SLOT_SET_SHIFT, ONES[nslots] << offset),)  # as it always is where nothing is wrong
    slot_sets = []
    slot, end = max(slot, 0), min(slot + nslots, nslabs)
    while slot < end:
        offset = slot & (IO_TLB_SEGSIZE - 1)
        here = min(end - slot, IO_TLB_SEGSIZE - offset)
        slot_sets.append((slot >> SLOT_SET_SHIFT, ONES[here] << offset))
        slot += here
    return slot_sets
