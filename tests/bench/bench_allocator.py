"""Map+unmap pairs a second through one pool: ``python -m tests.bench.bench_allocator``.

64 live mappings at most, of 512 B to 64 KiB (evenly spread over powers of two), 512 slots, one area:
the load the kernel's own C was measured with. Seconds are of processor time, and the best of several
rounds is printed, as other work on the machine only ever slows one down.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from swiotlb_top.allocator import (
    DMA_MAPPING_ERROR,
    REVISIONS,
    Allocator,
    Limits,
    Pool,
    Request,
    tlb_addr,
)

PAIRS = 100_000
ROUNDS = 5
LIVE = 64
DEV = 7
LIMITS = Limits(seg_boundary_mask=0xFFFF_FFFF)
ALIGNED = Limits(seg_boundary_mask=0xFFFF_FFFF, min_align_mask=0xFFF)

_Load = list[tuple[int, int, int]]


def load() -> _Load:
    """Sizes, addresses, and which live mapping goes when one must."""
    rng = random.Random(512)  # noqa: S311
    return [
        (int(512 * 2 ** (7 * rng.random())), rng.randrange(1, 1 << 21) << 9, rng.randrange(LIVE)) for _ in range(PAIRS)
    ]


def through_pool(todo: _Load, limits: Limits) -> int:
    """Search, take, find and release, as the judge does. Returns pairs."""
    pool = Pool(1, 1 << 28, 512, 1)
    live: list[int] = []
    pairs = 0
    for size, orig_addr, which in todo:
        offset = orig_addr & limits.min_align_mask & 2047
        request = Request(orig_addr, size + offset, 0, limits)
        slot = pool.search(0, request)
        if slot >= 0:
            pool.take(slot, request, DEV)
            live.append(tlb_addr(pool.start, slot, request))
        if slot < 0 or len(live) > LIVE:
            which %= len(live)
            mapping = pool.find_mapping(live[which], limits.min_align_mask)
            if mapping is None:
                raise AssertionError("the bench lost a mapping")
            pool.release(mapping)
            live[which] = live[-1]
            live.pop()
            pairs += 1
    return pairs


def through_allocator(todo: _Load, limits: Limits) -> int:
    """``map`` and ``unmap``, as a user of the library does. Returns pairs."""
    pool = Pool(1, 1 << 28, 512, 1)
    swiotlb = Allocator(REVISIONS["6.12"], [pool], 512, 1, can_grow=False, dynamic=True)
    live: list[int] = []
    pairs = 0
    for size, orig_addr, which in todo:
        address = swiotlb.map(0, DEV, orig_addr, size, 0, limits)
        if address != DMA_MAPPING_ERROR:
            live.append(address)
        if address == DMA_MAPPING_ERROR or len(live) > LIVE:
            which %= len(live)
            swiotlb.unmap(DEV, live[which], limits.min_align_mask)
            live[which] = live[-1]
            live.pop()
            pairs += 1
    return pairs


def pairs_per_second(run: Callable[[_Load, Limits], int], limits: Limits) -> float:
    """The best of :data:`ROUNDS`."""
    todo = load()
    best = 0.0
    for _ in range(ROUNDS):
        begin = time.process_time()
        pairs = run(todo, limits)
        best = max(best, pairs / (time.process_time() - begin))
    return best


def main() -> None:
    for name, run in (("pool search+take, find+release", through_pool), ("allocator map, unmap", through_allocator)):
        for limits in (LIMITS, ALIGNED):
            what = f"{name}, min_align_mask {limits.min_align_mask:#x}"
            print(f"{what:55} {pairs_per_second(run, limits):>10,.0f} pairs/s")


if __name__ == "__main__":
    main()
