"""Safety, which must hold on every kernel, wherever it searches: a ledger of the mappings and their slots.

The ledger does not know which slots a search should take. It receives pools, mappings and releases, and names
what is never right. An operation costs a few integer operations for each slot set.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from swiotlb_top.allocator.geometry import nr_slots, slot_addr
from swiotlb_top.allocator.request import Request, align_offset
from swiotlb_top.allocator.runs import ONES
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT, IO_TLB_SIZE, SLOT_SET_SHIFT

_ADDRESS_UNKNOWN: Final = -1


class Hazard(Enum):
    """What went wrong."""

    OVERLAP = "overlap"
    OUT_OF_BOUNDS = "out_of_bounds"
    MISALIGNED_ADDRESS = "misaligned_address"
    MISALIGNED_SLOT = "misaligned_slot"
    SPANS_BOUNDARY = "spans_boundary"
    NOT_MAPPED = "not_mapped"
    UNKNOWN_POOL = "unknown_pool"


class Violation(NamedTuple):
    """One violation of safety."""

    hazard: Hazard
    sentence: str


_UNKNOWN_POOL: Final = Violation(Hazard.UNKNOWN_POOL, "there is no such pool")


class Entry(NamedTuple):
    """A mapping in the ledger."""

    slot: int
    nslots: int
    tlb_addr: int
    """Where its buffer begins; -1 if that is not known."""


class _Live(NamedTuple):
    slot: int
    nslots: int
    tlb_addr: int
    replaces: bool = False
    """Whether another mapping began in its slot that was not released."""


class _PoolLedger:
    __slots__ = ("live", "nslabs", "start", "used")

    def __init__(self, start: int, nslabs: int) -> None:
        self.start = start
        self.nslabs = nslabs
        self.used = [0] * ((nslabs + IO_TLB_SEGSIZE - 1) // IO_TLB_SEGSIZE)
        self.live: dict[int, _Live] = {}


class Ledger:
    """The live mappings of any number of pools. The caller identifies each pool by a key that no other pool has; an
    address is none, as a freed pool and a later one may share it.

    :param pads_slots: whether the kernel puts whole slots before a buffer (since 6.9).
    """

    def __init__(self, *, pads_slots: bool = True) -> None:
        self._pools: dict[Hashable, _PoolLedger] = {}
        self._pads_slots = pads_slots

    def add_pool(self, pool: Hashable, start: int, nslabs: int) -> None:
        """A pool of ``nslabs`` slots from ``start`` on; what was known of it before is forgotten."""
        self._pools[pool] = _PoolLedger(start, nslabs)

    def remove_pool(self, pool: Hashable) -> None:
        """The pool was freed, and with it the mappings in it: the one of a transient pool."""
        self._pools.pop(pool, None)

    def adopt(self, pool: Hashable, slot: int, nslots: int, data_slot: int) -> tuple[Violation, ...]:
        """Enter a mapping from before the recording: its slots, and the slot in which its buffer begins."""
        ledger = self._pools.get(pool)
        if ledger is None:
            return (_UNKNOWN_POOL,)
        return self._occupy(ledger, slot, nslots, data_slot, _ADDRESS_UNKNOWN)

    def mapped(self, pool: Hashable, slot: int, request: Request) -> tuple[Violation, ...]:
        """Slots were given out from ``slot`` on. The mapping stands afterwards, whatever was wrong."""
        ledger = self._pools.get(pool)
        if ledger is None:
            return (_UNKNOWN_POOL,)
        nslots = nr_slots(request.alloc_size_bytes)
        first = slot_addr(ledger.start, slot)
        orig_addr, _, alloc_align_mask, limits = request
        padded_to = alloc_align_mask if self._pads_slots else 0
        address = first + align_offset(padded_to, orig_addr, limits.min_align_mask)
        data_slot = (address - ledger.start) >> IO_TLB_SHIFT
        wrong = misplaced(first, slot_addr(first, nslots), address, request, pads_slots=self._pads_slots)
        return (*self._occupy(ledger, slot, nslots, data_slot, address), *wrong)

    def released(self, pool: Hashable, address: int, min_align_mask: int) -> tuple[Violation, ...]:
        """The mapping whose buffer is at ``address`` was released."""
        ledger = self._pools.get(pool)
        if ledger is None:
            return (_UNKNOWN_POOL,)
        data_slot = (address - (address & min_align_mask & (IO_TLB_SIZE - 1)) - ledger.start) >> IO_TLB_SHIFT
        live = ledger.live.pop(data_slot, None)
        if live is None:
            return (Violation(Hazard.NOT_MAPPED, f"release of {address:#x}, where nothing is mapped"),)
        _vacate(ledger, live)
        if live.tlb_addr not in (address, _ADDRESS_UNKNOWN):
            return (Violation(Hazard.NOT_MAPPED, f"release of {address:#x}, mapped was {live.tlb_addr:#x}"),)
        return ()

    def former_released(self, pool: Hashable, slot: int, data_slot: int) -> None:
        """A mapping was released after another mapping had got some of its slots.

        :param slot: its first slot.
        :param data_slot: the slot in which its buffer begins. If that of another mapping begins there, the ledger has
            replaced it already.
        """
        ledger = self._pools.get(pool)
        live = ledger.live.get(data_slot) if ledger else None
        if ledger is None or live is None or live.slot != slot or live.replaces:
            return
        del ledger.live[data_slot]
        _vacate(ledger, live)
        for other in ledger.live.values():
            if other.slot < live.slot + live.nslots and live.slot < other.slot + other.nslots:
                for slot_set, slots in _by_slot_set(other.slot, other.nslots, ledger.nslabs):
                    ledger.used[slot_set] |= slots

    def entries(self, pool: Hashable) -> Iterator[tuple[int, Entry]]:
        """The mappings of a pool, each with the slot in which its buffer begins; none of a pool that is not known."""
        ledger = self._pools.get(pool)
        for data_slot, live in ledger.live.items() if ledger else ():
            yield data_slot, Entry(live.slot, live.nslots, live.tlb_addr)

    def used_slots(self, pool: Hashable) -> tuple[int, ...]:
        """The slots of a pool that are in use, a bit mask a slot set; empty for a pool that is not known."""
        ledger = self._pools.get(pool)
        return tuple(ledger.used) if ledger else ()

    def take_over(
        self, pool: Hashable, released: Iterable[int], mapped: Mapping[int, Entry], changed: Iterable[int]
    ) -> None:
        """Enter at once what was released and mapped where nothing was wrong.

        :param released: the slots in which the buffers began of mappings that are gone.
        :param mapped: the mappings that came, by the slots in which their buffers begin.
        :param changed: the slots that were in use and are not any more, or the other way round, a bit mask a slot set.
        """
        ledger = self._pools[pool]
        for data_slot in released:
            del ledger.live[data_slot]
        for data_slot, entry in mapped.items():
            ledger.live[data_slot] = _Live(*entry)
        ledger.used = [used ^ slots for used, slots in zip(ledger.used, changed, strict=True)]

    def _occupy(
        self, ledger: _PoolLedger, slot: int, nslots: int, data_slot: int, address: int
    ) -> tuple[Violation, ...]:
        """Enter a mapping, and say where it collides or sticks out."""
        slot_sets = _by_slot_set(slot, nslots, ledger.nslabs)
        taken = 0
        for slot_set, slots in slot_sets:
            taken += (ledger.used[slot_set] & slots).bit_count()
        replaced = ledger.live.get(data_slot)
        if replaced:
            _vacate(ledger, replaced)
        for slot_set, slots in slot_sets:
            ledger.used[slot_set] |= slots
        ledger.live[data_slot] = _Live(slot, nslots, address, replaced is not None)
        outside = slot < 0 or slot + nslots > ledger.nslabs
        if not (taken or outside):
            return ()
        return tuple(_collisions(slot, nslots, ledger.nslabs, taken, outside))


def _vacate(ledger: _PoolLedger, live: _Live) -> None:
    """Remove the slots of a mapping from the ledger."""
    for slot_set, slots in _by_slot_set(live.slot, live.nslots, ledger.nslabs):
        ledger.used[slot_set] &= ~slots


def _collisions(slot: int, nslots: int, nslabs: int, taken: int, outside: bool) -> Iterator[Violation]:
    slots = f"slots {slot}..{slot + nslots - 1}"
    if outside:
        yield Violation(Hazard.OUT_OF_BOUNDS, f"{slots} of a pool of {nslabs}")
    if taken:
        yield Violation(Hazard.OVERLAP, f"{slots} were given out, {taken} of them are in use")


def misplaced(first: int, end: int, address: int, request: Request, *, pads_slots: bool) -> Iterator[Violation]:
    """What is wrong with the place of the bytes ``first``..``end`` and the buffer at ``address`` in them.

    A kernel that puts no whole slots before the buffer (up to 6.8) cannot keep what both masks ask for, and gives
    up one of them: that is a limit of its release, not something that went wrong in it.
    """
    orig_addr, _, alloc_align_mask, limits = request
    kept_mask = limits.min_align_mask
    if not pads_slots:
        kept_mask &= ~alloc_align_mask | (IO_TLB_SIZE - 1)
        alloc_align_mask = 0
    if orig_addr and (address ^ orig_addr) & kept_mask:
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
