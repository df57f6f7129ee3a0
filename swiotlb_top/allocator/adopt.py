"""Rebuilds a pool from a snapshot of the kernel's slots, and checks that the snapshot is consistent.

The kernel keeps no record of a mapping, only of its slots. Slot i+1 belongs to the mapping of slot i
if both are in use and in one slot set, and ``alloc_size`` falls by the size of a slot (modulo 2^64: that
of the last slot may be below zero). The first slot of another mapping cannot look so, as its size is positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from swiotlb_top.allocator.alignment import NEWEST_RULE, AlignmentRule
from swiotlb_top.allocator.geometry import nr_slots, slot_addr
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE, Mapping
from swiotlb_top.allocator.pool import Pool
from swiotlb_top.allocator.runs import ONES, run_length
from swiotlb_top.constants import INVALID_PHYS_ADDR, IO_TLB_SEGSIZE, IO_TLB_SIZE
from swiotlb_top.state import PoolState

_SIZE_MASK = 0xFFFF_FFFF_FFFF_FFFF


class Flaw(Enum):
    """The ways in which a snapshot can be inconsistent."""

    GEOMETRY = "geometry"
    FREE_LIST = "free_list"
    FREE_SLOT_NOT_CLEAN = "free_slot_not_clean"
    ALLOC_SIZE = "alloc_size"
    ORIG_ADDR = "orig_addr"
    PAD_SLOTS = "pad_slots"
    AREA_USED = "area_used"
    AREA_INDEX = "area_index"
    OUTSIDE_AREAS = "outside_areas"


class Problem(NamedTuple):
    """One inconsistency of a snapshot; ``where`` is a slot, or an area for the two area flaws."""

    flaw: Flaw
    where: int
    sentence: str


class Adopted(NamedTuple):
    """The pool, with the kernel's state even if that is inconsistent, and the problems that were found."""

    pool: Pool
    problems: tuple[Problem, ...]


def adopt(state: PoolState, *, rule: AlignmentRule = NEWEST_RULE, check: bool = True) -> Adopted:
    """Rebuild a pool from the kernel's slots.

    A mapping that was copied after ``swiotlb_find_slots()`` and before the map returned may have no
    ``orig_addr`` yet, or not in all slots. The slot in which its buffer begins is then not known, and any
    of its slots finds it.

    :param check: look for problems, which takes longer than everything else.
    :raises ValueError: as :class:`Pool`, or the lists are not as long as nslabs and nareas say.
    """
    pool = Pool(state.address, state.start, state.nslabs, state.nareas, state.transient, rule=rule)
    columns = (state.list_, state.orig_addr, state.alloc_size, state.pad_slots)
    if any(len(column) != state.nslabs for column in columns) or len(state.areas) != state.nareas:
        raise ValueError("a pool's lists are not as long as its nslabs and nareas")
    free = _free_masks(state.list_, pool.list_end)
    mappings = [_mapping(state, first, nslots) for first, nslots in _runs(state)]
    areas_end = pool.nareas * pool.area_nslabs
    # The kernel cannot release what begins behind the last area: these slots stay in use for good.
    live = [(mapping, settled) for mapping, settled in mappings if mapping.slot < areas_end]
    index = [min(area.index, pool.area_nslabs - 1) for area in state.areas]
    pool.restore(free, [area.used for area in state.areas], index, live)
    if not check:
        return Adopted(pool, ())
    problems = [*_area_problems(state, pool, mappings), *_free_problems(state, free)]
    for mapping, _ in mappings:
        problems += _mapping_problems(state, mapping)
    return Adopted(pool, tuple(problems))


def _free_masks(list_: tuple[int, ...], list_end: int) -> list[int]:
    """A bit mask for each slot set; slots behind the pool count as free as the ``list`` of its last slot says."""
    masks = []
    for first in range(0, len(list_), IO_TLB_SEGSIZE):
        in_set = list_[first : first + IO_TLB_SEGSIZE]
        masks.append(sum(1 << offset for offset, run in enumerate(in_set) if run))
    if len(list_) < list_end:
        last = len(list_) - 1
        masks[-1] |= ONES[min(list_[last], list_end - last)] << last % IO_TLB_SEGSIZE
    return masks


def _runs(state: PoolState) -> Iterator[tuple[int, int]]:
    """First slot and length of each mapping."""
    first = -1
    for slot in range(state.nslabs + 1):
        if first >= 0 and not _continues(state, slot):
            yield first, slot - first
            first = -1
        if first < 0 and slot < state.nslabs and not state.list_[slot]:
            first = slot


def _continues(state: PoolState, slot: int) -> bool:
    """Does ``slot`` belong to the mapping of the slot before it (which is in use)?"""
    if slot == state.nslabs or slot % IO_TLB_SEGSIZE == 0 or state.list_[slot]:
        return False
    return state.alloc_size[slot] == (state.alloc_size[slot - 1] - IO_TLB_SIZE) & _SIZE_MASK


def _mapping(state: PoolState, first: int, nslots: int) -> tuple[Mapping, bool]:
    """The mapping in a run of slots, and whether its buffer's first slot is known."""
    in_first = state.orig_addr[first] != INVALID_PHYS_ADDR
    pad_slots = 0 if in_first else _first_with_address(state, first, nslots)
    # swiotlb_tbl_map_single() writes that first: where the addresses begin elsewhere, it was writing them.
    settled = pad_slots >= 0 and state.pad_slots[first + pad_slots] == pad_slots
    if not settled:
        return Mapping(first, nslots, 0, state.alloc_size[first], 0, UNKNOWN_DEVICE), False
    orig_addr = state.orig_addr[first + pad_slots]
    return Mapping(first, nslots, pad_slots, state.alloc_size[first], orig_addr, UNKNOWN_DEVICE), True


def _first_with_address(state: PoolState, first: int, nslots: int) -> int:
    """How many slots of a run precede the first one that has an ``orig_addr``; -1 if none has."""
    addresses = state.orig_addr[first : first + nslots]
    return next((i for i, address in enumerate(addresses) if address != INVALID_PHYS_ADDR), -1)


def _area_problems(state: PoolState, pool: Pool, mappings: list[tuple[Mapping, bool]]) -> Iterator[Problem]:
    if state.area_nslabs != pool.area_nslabs:
        what = f"{state.nslabs} slots in {state.nareas} areas are not {state.area_nslabs} each"
        yield Problem(Flaw.GEOMETRY, 0, what)
    used = [0] * pool.nareas
    for mapping, _ in mappings:
        area = mapping.slot // pool.area_nslabs
        if area < pool.nareas:
            used[area] += mapping.nslots
        else:
            yield Problem(Flaw.OUTSIDE_AREAS, mapping.slot, f"slot {mapping.slot} is in use, but in no area")
    for area, (kernel, own) in enumerate(zip(state.areas, used, strict=True)):
        if kernel.used != own:
            what = f"area {area} counts {kernel.used} used slots, its mappings have {own}"
            yield Problem(Flaw.AREA_USED, area, what)
        if kernel.index >= pool.area_nslabs:
            what = f"area {area} searches from slot {kernel.index} of {pool.area_nslabs}"
            yield Problem(Flaw.AREA_INDEX, area, what)


def _free_problems(state: PoolState, free: list[int]) -> Iterator[Problem]:
    for slot, run in enumerate(state.list_):
        if not run:
            continue
        own = run_length(free[slot // IO_TLB_SEGSIZE], slot % IO_TLB_SEGSIZE)
        if run != own:
            yield Problem(Flaw.FREE_LIST, slot, f"slot {slot} says {run} free slots from here, there are {own}")
        if state.orig_addr[slot] != INVALID_PHYS_ADDR or state.alloc_size[slot] or state.pad_slots[slot]:
            yield Problem(Flaw.FREE_SLOT_NOT_CLEAN, slot, f"slot {slot} is free, but not as a released slot is")


def _mapping_problems(state: PoolState, mapping: Mapping) -> Iterator[Problem]:
    first, nslots, _, size, _, _ = mapping
    # alloc_size lacks the 0..2047 bytes before the buffer in its first slot.
    if not 0 <= nslots - nr_slots(size) <= 1 or not size:
        yield Problem(Flaw.ALLOC_SIZE, first, f"{nslots} slots from slot {first} on hold a mapping of {size} bytes")
    pad_slots = _first_with_address(state, first, nslots)
    if pad_slots < 0:
        return
    data = first + pad_slots
    pads = state.pad_slots[first : first + nslots]
    if any(pad != (pad_slots if slot == data else 0) for slot, pad in enumerate(pads, first)):
        yield Problem(Flaw.PAD_SLOTS, data, f"{pad_slots} slots before slot {data} are padding, it says {pads}")
    expected = tuple(slot_addr(state.orig_addr[data], i) for i in range(nslots - pad_slots))
    if state.orig_addr[data : first + nslots] != expected:
        yield Problem(Flaw.ORIG_ADDR, data, f"orig_addr does not run on from slot {data}")
