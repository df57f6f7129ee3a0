"""Hand-made histories: a small machine's state, and the events of calls on it.

Times are nanoseconds from 1000 on; the first state was read in 0..10.
"""

from __future__ import annotations

from typing import Final

from swiotlb_top.allocator import REVISIONS, Limits, Pool, Request
from swiotlb_top.constants import DMA_MAPPING_ERROR, INVALID_PHYS_ADDR, NOT_FOUND
from swiotlb_top.cpus import Cpus
from swiotlb_top.events import Device, Direction, Find, Grow, Map, PoolAlloc, Unmap
from swiotlb_top.state import AreaState, KernelInfo, MemState, PoolState
from swiotlb_top.verify import Judge

DEV: Final = 7
POOL: Final = 0x1000
START: Final = 0x1000_0000
SLOT_BYTES: Final = 2048
LIMITS: Final = Limits(0xFFFF_FFFF, 0, 0xFFFF_FFFF, 0)
STATE_END_NS: Final = 10

OLDER: Final = POOL + 0x100
OLDER_START: Final = START + (1 << 30)
STRANGER: Final = DEV + 1
"""A device that never introduces itself."""
SECOND_NS: Final = 1_000_000_000

KERNEL: Final = KernelInfo("6.12.0", "x86_64", "", Cpus.first(4), ("dynamic", "pad_slots"), ())


def state_of(pool: Pool, begin_ns: int = 0, end_ns: int = STATE_END_NS) -> PoolState:
    """A pool as it would be read out of a kernel that agrees with it."""
    orig_addr = [INVALID_PHYS_ADDR] * pool.nslabs
    alloc_size = [0] * pool.nslabs
    pad_slots = [0] * pool.nslabs
    for mapping in pool.mappings():
        pad_slots[mapping.slot + mapping.pad_slots] = mapping.pad_slots
        for i in range(mapping.nslots):
            alloc_size[mapping.slot + i] = mapping.alloc_size_bytes - i * SLOT_BYTES
            if i >= mapping.pad_slots:
                orig_addr[mapping.slot + i] = mapping.orig_addr + (i - mapping.pad_slots) * SLOT_BYTES
    return PoolState(
        address=pool.address,
        start=pool.start,
        nslabs=pool.nslabs,
        nareas=pool.nareas,
        area_nslabs=pool.area_nslabs,
        transient=pool.transient,
        begin_ns=begin_ns,
        end_ns=end_ns,
        areas=tuple(AreaState(*of) for of in zip(pool.area_used, pool.area_index, strict=True)),
        list_=tuple(pool.free_list()),
        orig_addr=tuple(orig_addr),
        alloc_size=tuple(alloc_size),
        pad_slots=tuple(pad_slots),
    )


def empty_pool(nslabs: int = 512, nareas: int = 1, address: int = POOL, start: int = START) -> Pool:
    """All slots free."""
    return Pool(address, start, nslabs, nareas)


def machine(*pools: PoolState, can_grow: bool = False, settled: bool = True, transient_nslabs: int = 0) -> MemState:
    """A dynamic allocator with these pools, newest first; one empty pool where none is given."""
    pools = pools or (state_of(empty_pool()),)
    nslabs = sum(pool.nslabs for pool in pools)
    used = sum(area.used for pool in pools for area in pool.areas) + transient_nslabs
    oldest = pools[-1]
    return MemState(
        address=POOL,
        nslabs=nslabs,
        can_grow=can_grow,
        dynamic=True,
        default_nslabs=oldest.nslabs,
        default_nareas=oldest.nareas,
        phys_limit=0xFFFF_FFFF,
        pools=pools,
        total_used=used,
        used_hiwater=used,
        transient_nslabs=transient_nslabs,
        settled=settled,
    )


def device(dev: int = DEV, exit_ns: int = 1, min_align_mask: int = 0) -> Device:
    """A device introduces itself."""
    return Device(exit_ns, dev, POOL, LIMITS.dma_mask, LIMITS.bus_dma_limit, LIMITS.seg_boundary_mask, min_align_mask)


def found(
    entry_ns: int,
    exit_ns: int,
    slot: int,
    nslots: int = 1,
    *,
    cpu: int = 0,
    pool: int = POOL,
    dev: int = DEV,
) -> Find:
    """A search that got ``nslots`` slots of a pool, or (slot -1) nothing."""
    pool = pool if slot >= 0 else 0
    return Find(entry_ns, exit_ns, cpu, False, dev, pool, 0x20_0000, nslots * SLOT_BYTES, 0, slot)


def searched_in_vain(entry_ns: int, exit_ns: int, nslots: int = 1, *, cpu: int = 0) -> Find:
    """A search that got nothing."""
    return found(entry_ns, exit_ns, NOT_FOUND, nslots, cpu=cpu)


def mapped(entry_ns: int, exit_ns: int, slot: int, nslots: int = 1, *, cpu: int = 0, start: int = START) -> Map:
    """A map, where the search cannot be seen; slot -1 where it failed."""
    tlb_addr = start + slot * SLOT_BYTES if slot >= 0 else DMA_MAPPING_ERROR
    size_bytes = nslots * SLOT_BYTES
    return Map(entry_ns, exit_ns, cpu, False, DEV, 0x20_0000, size_bytes, 0, Direction.TO_DEVICE, 0, tlb_addr)


def released(
    entry_ns: int,
    exit_ns: int,
    slot: int,
    nslots: int = 1,
    *,
    pool: int = POOL,
    start: int = START,
    dev: int = DEV,
) -> Unmap:
    """The unmap of what begins in ``slot``."""
    tlb_addr = start + slot * SLOT_BYTES
    return Unmap(entry_ns, exit_ns, 0, dev, pool, tlb_addr, nslots * SLOT_BYTES, Direction.TO_DEVICE, 0)


def allocated(exit_ns: int, pool: int, start: int, nslabs: int, nareas: int = 1, cpu: int = 0) -> PoolAlloc:
    """Memory for a pool was had."""
    return PoolAlloc(exit_ns, cpu, pool, start, nslabs, nareas)


def grown(entry_ns: int, exit_ns: int, pool: int, start: int, nslabs: int, nareas: int = 1) -> Grow:
    """A pool was added."""
    return Grow(entry_ns, exit_ns, POOL, pool, start, nslabs, nareas)


def pool_with(*slots: int, nslabs: int = 512, address: int = POOL, start: int = START) -> Pool:
    """A pool with one-slot mappings."""
    pool = Pool(address, start, nslabs, 1)
    for slot in slots:
        pool.take(slot, Request(0x20_0000, SLOT_BYTES, 0, LIMITS), DEV)
    return pool


def two_copies() -> MemState:
    """A new pool copied in 0..10, an old one in 20..30."""
    return machine(
        state_of(pool_with(0), 0, 10),
        state_of(pool_with(0, address=OLDER, start=OLDER_START), 20, 30),
        can_grow=True,
    )


def judging(mem: MemState | None = None, *, pools_announced: bool = True, cpus: int = 1) -> Judge:
    """A judge that has a state and knows the device."""
    judge = Judge(REVISIONS["6.10"], pools_announced=pools_announced, cpus=range(cpus))
    judge.state(mem or machine())
    judge.feed([device()])
    return judge
