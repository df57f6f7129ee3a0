"""Map+unmap pairs a second through one pool: ``python -m tests.bench.bench_allocator``.

64 live mappings at most, of 512 B to 64 KiB (evenly spread over powers of two), 512 slots, one area:
the load the kernel's own C was measured with. Seconds are of processor time, and the best of several
rounds is printed, as other work on the machine only ever slows one down. The bar is 150,000 pairs through
a pool. What it is held against is the kernel's code slot by slot in Python, which the tests prove it equal to.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

from swiotlb_top.allocator import (
    DMA_MAPPING_ERROR,
    REVISIONS,
    Allocator,
    Limits,
    Pool,
)
from swiotlb_top.allocator.revision import Revision
from tests.support.slot_by_slot import Slots

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


def through_pool(revision: Revision, todo: _Load, limits: Limits) -> int:
    """Search, take, find and release, as the judge does. Returns pairs."""
    pool = Pool(1, 1 << 28, 512, 1, rule=revision.rule)
    live: list[int] = []
    pairs = 0
    for size, orig_addr, which in todo:
        request = revision.request(size, orig_addr, 0, limits)
        slot = pool.search(0, request)
        if slot >= 0:
            pool.take(slot, request, DEV)
            live.append(revision.tlb_addr(pool.start, slot, request))
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


def through_allocator(revision: Revision, todo: _Load, limits: Limits) -> int:
    """``map`` and ``unmap``, as a user of the library does. Returns pairs."""
    pool = Pool(1, 1 << 28, 512, 1, rule=revision.rule)
    swiotlb = Allocator(revision, [pool], 512, 1, can_grow=False, dynamic=True)
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


def slot_by_slot(todo: _Load, limits: Limits) -> int:
    """The kernel's own steps: the lists of every slot kept and walked. Returns pairs."""
    slots = Slots(1 << 28, 512, 1)
    boundary_mask, min_align_mask = limits.seg_boundary_mask, limits.min_align_mask
    live: list[int] = []
    pairs = 0
    for size, orig_addr, which in todo:
        size += orig_addr & min_align_mask & 2047
        slot = slots.search(0, orig_addr, size, 0, boundary_mask, min_align_mask)
        if slot >= 0:
            slots.take(slot, orig_addr, size, min_align_mask)
            live.append(slots.map(slot, orig_addr, size, 0, min_align_mask))
        if slot < 0 or len(live) > LIVE:
            which %= len(live)
            slots.release(live[which], min_align_mask)
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
    newest, oldest = REVISIONS["7.3"], REVISIONS["6.1"]
    ways: tuple[tuple[str, Callable[[_Load, Limits], int]], ...] = (
        ("slot by slot, as the kernel's C", slot_by_slot),
        ("pool search+take, find+release", partial(through_pool, newest)),
        ("the same, of 6.1", partial(through_pool, oldest)),
        ("allocator map, unmap", partial(through_allocator, newest)),
    )
    for limits in (LIMITS, ALIGNED):
        first = 0.0
        for name, run in ways:
            rate = pairs_per_second(run, limits)
            first = first or rate
            what = f"{name}, min_align_mask {limits.min_align_mask:#x}"
            print(f"{what:55} {rate:>10,.0f} pairs/s {rate / first:6.1f} x")


if __name__ == "__main__":
    main()
