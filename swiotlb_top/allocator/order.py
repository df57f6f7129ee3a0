"""In which order a search asks the areas of an allocator's pools.

A search order is a generator over ``(pool, area_index)``. It reads the pool list when a round
over it begins, so that a pool added while a search runs is seen as the kernel's RCU list shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

from swiotlb_top.allocator.pool import Pool


class Pools(Protocol):
    """What an order reads: the pools, newest first, and ``default_nareas``."""

    @property
    def pools(self) -> tuple[Pool, ...]: ...

    @property
    def default_nareas(self) -> int: ...


SearchOrder: TypeAlias = Callable[[Pools, int], Iterator[tuple[Pool, int]]]
"""``(allocator, cpu) -> (pool, area_index) in turn``"""


def each_offset_every_pool(allocator: Pools, cpu: int) -> Iterator[tuple[Pool, int]]:
    """Dynamic, since 6.8: the area of this CPU in every pool, then the next area in every pool.

    Mirrors ``swiotlb_find_slots()`` and ``swiotlb_search_area()``. Where a pool's ``nareas`` is no
    power of two, the mask leaves out some of its areas, as it does in the kernel.
    """
    for cpu_offset in range(allocator.default_nareas):
        for pool in allocator.pools:
            if cpu_offset < pool.nareas:
                yield pool, (cpu + cpu_offset) & (pool.nareas - 1)


def each_pool_every_area(allocator: Pools, cpu: int) -> Iterator[tuple[Pool, int]]:
    """Static builds, and dynamic ones up to 6.7: a pool's areas from this CPU's on, then the next pool's.

    Mirrors ``swiotlb_find_slots()`` without CONFIG_SWIOTLB_DYNAMIC, and 6.6's ``swiotlb_pool_find_slots()``.
    """
    for pool in allocator.pools:
        start = cpu & (pool.nareas - 1)
        for step in range(pool.nareas):
            yield pool, (start + step) % pool.nareas
