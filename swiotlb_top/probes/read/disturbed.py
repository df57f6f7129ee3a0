"""Whether a call changed the allocator's state while it was being copied."""

from __future__ import annotations

from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.events import Find, Grow, Map, PoolAdd, Unmap
from swiotlb_top.records import Kind, decode, of_kind, overlapping, select
from swiotlb_top.state import MemState, PoolState


def touched(pools: tuple[PoolState, ...], records: bytes) -> set[int]:
    """Addresses of the pools whose slots a call took or released while they were copied.

    :param records: packed records of the calls that have returned since the copy began.
    """
    begin_ns = min((pool.begin_ns for pool in pools), default=0)
    end_ns = max((pool.end_ns for pool in pools), default=0)
    dirty = set()
    for event in decode(select(records, overlapping(records, begin_ns, end_ns))):
        if isinstance(event, Find | Unmap) and event.pool:
            hit = [pool for pool in pools if pool.address == event.pool]
        elif isinstance(event, Map | Unmap):
            hit = [pool for pool in pools if pool.start <= event.tlb_addr < slot_addr(pool.start, pool.nslabs)]
        else:
            continue
        dirty |= {pool.address for pool in hit if event.exit_ns >= pool.begin_ns and event.entry_ns <= pool.end_ns}
    return dirty


def grew(state: MemState, records: bytes) -> bool:
    """Whether the allocator's list of pools has changed since it was read.

    :param records: packed records of the calls that have returned since then.
    """
    known = {pool.address for pool in state.pools}
    grown = (place for kind in (Kind.POOL_ADD, Kind.GROW) for place in of_kind(records, kind))
    return any(
        isinstance(event, PoolAdd | Grow) and event.pool and event.pool not in known
        for event in decode(select(records, grown))
    )
