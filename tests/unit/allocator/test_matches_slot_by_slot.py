"""The bit masks do what the kernel's slot-by-slot code does: same slot, same list, used and index."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swiotlb_top.allocator import REVISIONS, Limits, Pool, Request, Undo, adopt
from swiotlb_top.allocator.alignment import align_by_stride, align_by_stride_and_device, align_by_two_slots
from swiotlb_top.allocator.walk import NEVER_ENDS, candidates, walk_of
from swiotlb_top.state import AreaState, PoolState
from tests.support.slot_by_slot import HANGS, SEGSIZE, Slots

REVISION_OF = {
    "6.0": replace(REVISIONS["6.1"], alignment=align_by_stride_and_device),
    "6.1": REVISIONS["6.1"],
    "6.6": REVISIONS["6.6"],
    "6.6.24": replace(REVISIONS["6.6"], alignment=align_by_two_slots),
    "6.12": REVISIONS["6.10"],
}
"""Of each kernel whose C is there slot by slot."""
kernels = st.sampled_from(sorted(REVISION_OF))
MEDIUM = settings().max_examples
"""A hundred, but for ``make mutants``."""

masks = st.one_of(
    st.sampled_from([0, 511, 2047, 4095, 8191, 16383, 65535, (1 << 18) - 1, (1 << 20) - 1]),
    st.sampled_from([0x1000, 0x5000, 0xF000, 0x2800, 0x1001, 0xC000]),
    st.integers(0, (1 << 20) - 1),
)
boundary_masks = st.one_of(
    st.sampled_from([(1 << 64) - 1, (1 << 32) - 1]), st.integers(11, 22).map(lambda order: (1 << order) - 1)
)
starts = st.one_of(
    st.integers(0, 1 << 12).map(lambda page: (1 << 28) + (page << 12)),
    st.integers(0, 1 << 12).map(lambda slot: slot << 11),
    st.integers(0, 1 << 24),
)
orig_addrs = st.one_of(st.just(0), st.integers(1, 1 << 22), st.integers(0, 1 << 10).map(lambda page: page << 12))
geometries = st.one_of(
    st.tuples(st.sampled_from([512, 1024, 2048]), st.sampled_from([1, 2, 4])),
    st.tuples(st.integers(100, 2048), st.integers(1, 9)),
    st.tuples(st.integers(1, 140), st.just(1)),
)
sizes = st.one_of(st.integers(1, 16 << 10), st.integers(1, 270 << 10), st.integers(1, 130).map(lambda n: n << 11))


def kernel_state(slots: Slots) -> PoolState:
    """What the tool would read out of a kernel with these slots."""
    return PoolState(
        address=1,
        start=slots.start,
        nslabs=slots.nslabs,
        nareas=slots.nareas,
        area_nslabs=slots.area_nslabs,
        transient=False,
        begin_ns=0,
        end_ns=0,
        areas=tuple(AreaState(used, index) for used, index in zip(slots.used, slots.index, strict=True)),
        list_=tuple(slots.list_),
        orig_addr=tuple(slots.orig_addr),
        alloc_size=tuple(slots.alloc_size),
        pad_slots=tuple(slots.pad_slots),
    )


def _masks(free: list[int], nslabs: int) -> list[int]:
    bits = sum(1 << slot for slot in free)
    return [bits >> first & ((1 << SEGSIZE) - 1) for first in range(0, nslabs, SEGSIZE)]


def fill(slots: Slots, free_bits: int) -> None:
    """Mark slots in use as if each had been mapped alone; bit i of ``free_bits`` set = slot i free."""
    for slot in range(slots.nslabs):
        if not free_bits >> slot & 1:
            slots.alloc_size[slot] = 1
    for first in range(0, slots.nslabs, SEGSIZE):
        run = 0
        for slot in range(min(first + SEGSIZE, slots.nslabs) - 1, first - 1, -1):
            run = run + 1 if free_bits >> slot & 1 else 0
            slots.list_[slot] = run
    for area in range(slots.nareas):
        begin = area * slots.area_nslabs
        end = slots.nslabs if area == slots.nareas - 1 else begin + slots.area_nslabs
        slots.used[area] = sum(not free_bits >> slot & 1 for slot in range(begin, end))


@pytest.mark.parametrize("kernel", REVISION_OF)
@settings(max_examples=3 * MEDIUM, deadline=None)
@given(geometries, starts, st.data())
def test_any_search_in_any_state_ends_where_the_kernels_loop_ends(
    kernel: str, geometry: tuple[int, int], start: int, data: st.DataObject
) -> None:
    nslabs, nareas = geometry
    slots = Slots(start, nslabs, nareas, kernel)
    seed = data.draw(st.integers(0, 1 << 60))
    blocks = data.draw(st.sampled_from([1, 3, 8, 32, 200]))
    sixteenths_free = data.draw(st.sampled_from([0, 1, 8, 15]))
    free_bits, bit = 0, 0
    while bit < nslabs:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        length = 1 + (seed >> 33) % blocks
        if seed >> 60 < sixteenths_free:
            free_bits |= ((1 << length) - 1) << bit
        bit += length
    fill(slots, free_bits & ((1 << nslabs) - 1))
    slots.index = [data.draw(st.integers(0, slots.area_nslabs - 1)) for _ in range(nareas)]
    pool = adopt(kernel_state(slots), rule=REVISION_OF[kernel].rule).pool
    assert pool.free_list() == slots.list_
    for _ in range(6):
        area = data.draw(st.integers(0, nareas - 1))
        limits = Limits(data.draw(boundary_masks), data.draw(masks))
        request = Request(data.draw(orig_addrs), data.draw(sizes), data.draw(masks), limits)
        assert pool.search(area, request) == slots.search(area, *request[:3], *limits[:2])


@pytest.mark.parametrize("kernel", REVISION_OF)
@pytest.mark.parametrize("align_mask", [0, 0xFFF, 0x17FF, 0x3FFF, 0xFFFF, 0x2800])
@pytest.mark.parametrize("min_align", [0, 0xFFF, 0x7FFF, 0xF000])
@pytest.mark.parametrize(("area_nslabs", "orig_addr"), [(37, 0), (37, 0x5B800), (64, 0x5B800), (45, 0x12345)])
def test_the_only_free_slot_is_found_from_wherever_the_kernel_finds_it(
    kernel: str, align_mask: int, min_align: int, area_nslabs: int, orig_addr: int
) -> None:
    """Every start and every free slot: where the search comes round, and where a stride jumps over the end."""
    slots = Slots(1 << 28, 2 * area_nslabs, 2, kernel)
    pool = Pool(1, 1 << 28, 2 * area_nslabs, 2, rule=REVISION_OF[kernel].rule)
    limits = Limits(min_align_mask=min_align)
    request = Request(orig_addr, 1000, align_mask, limits)
    found = 0
    for free in range(area_nslabs, 2 * area_nslabs):
        slots.list_ = [int(slot == free) for slot in range(slots.nslabs)]
        for index in range(area_nslabs):
            slots.index[1] = index
            pool.restore(_masks([free], slots.nslabs), [0, 0], [0, index], [])
            expected = slots.search(1, orig_addr, 1000, align_mask, limits.seg_boundary_mask, min_align)
            assert pool.search(1, request) == expected
            found += expected >= 0
    assert found


def test_up_to_62_a_search_that_creeps_to_the_buffers_half_page_and_finds_nothing_never_ends() -> None:
    """min_align_mask 4095 as nvme has it, a buffer in the second half of its page, and no room: 7c3940bf81e5."""
    slots = Slots(1 << 28, 128, 1, "6.1")
    fill(slots, 0)
    slots.used, slots.index = [0], [2]
    pool = adopt(kernel_state(slots), rule=REVISION_OF["6.1"].rule).pool
    limits = Limits(min_align_mask=0xFFF)
    assert slots.search(0, 0x5800, 512, 0, limits.seg_boundary_mask, 0xFFF) == HANGS
    assert pool.search(0, Request(0x5800, 512, 0, limits)) == HANGS
    assert pool.search(0, Request(0x5000, 512, 0, limits)) == -1


def test_such_a_search_looks_at_every_aligned_slot_before_it_is_known_never_to_end() -> None:
    walk = walk_of(align_by_stride, 1 << 28, 16, (0, Limits(min_align_mask=0xFFF), False, False))
    odd = [3, 5, 7, 9, 11, 13, 15]
    assert list(candidates(walk, 0, 16, 2, 0x5800)) == [*odd, 1, *odd, NEVER_ENDS]
    assert list(candidates(walk, 0, 16, 0, 0x5800)) == [1, *odd]


def test_up_to_62_a_search_for_more_than_a_slot_set_never_ends_either() -> None:
    slots = Slots(1 << 28, 256, 1, "6.1")
    slots.index = [2]
    pool = adopt(kernel_state(slots), rule=REVISION_OF["6.1"].rule).pool
    limits = Limits(min_align_mask=0xFFF)
    assert slots.search(0, 0x5800, 129 << 11, 0, limits.seg_boundary_mask, 0xFFF) == HANGS
    assert pool.search(0, Request(0x5800, 129 << 11, 0, limits)) == HANGS
    assert pool.search(0, Request(0x5000, 129 << 11, 0, limits)) == -1


class PoolMachine(RuleBasedStateMachine):
    """Maps, unmaps and undone steps in any order, on both."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[tuple[int, int]] = []
        self.history: list[tuple[Slots, list[tuple[int, int]], Undo]] = []

    @initialize(kernel=kernels, geometry=geometries, start=starts)
    def begin(self, kernel: str, geometry: tuple[int, int], start: int) -> None:
        self.revision = REVISION_OF[kernel]
        if kernel != "6.12":
            start &= ~2047  # where a pool begins inside a slot, they release another slot than they took
        self.slots = Slots(start, *geometry, kernel)
        self.pool = Pool(1, start, *geometry, rule=self.revision.rule)

    def remember(self, undo: Undo, slots: Slots, live: list[tuple[int, int]]) -> None:
        self.history.append((slots, live, undo))

    @rule(
        area=st.integers(0, 8),
        orig_addr=orig_addrs,
        size=sizes,
        align_mask=masks,
        min_align=masks,
        boundary=boundary_masks,
        repeats=st.integers(1, 12),
    )
    def map(
        self, area: int, orig_addr: int, size: int, align_mask: int, min_align: int, boundary: int, repeats: int
    ) -> None:
        limits = Limits(boundary, min_align)
        request = self.revision.request(size, orig_addr, align_mask, limits)
        area %= self.slots.nareas
        for _ in range(repeats):
            slot = self.slots.search(area, *request[:3], boundary, min_align)
            assert self.pool.search(area, request) == slot
            if slot < 0 or slot + -(-request.alloc_size_bytes // 2048) > self.slots.nslabs:
                return  # what lies behind the pool is somebody else's memory
            before = copy.deepcopy(self.slots), list(self.live)
            self.slots.take(slot, orig_addr, request.alloc_size_bytes, min_align)
            undo = self.pool.take(slot, request, 7)
            assert undo.mapping.dev == 7
            address = self.slots.map(slot, orig_addr, request.alloc_size_bytes, align_mask, min_align)
            assert self.revision.tlb_addr(self.pool.start, slot, request) == address
            self.live.append((address, min_align))
            self.remember(undo, *before)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 1 << 30))
    def unmap(self, which: int) -> None:
        before = copy.deepcopy(self.slots), list(self.live)
        address, min_align = self.live.pop(which % len(self.live))
        mapping = self.pool.find_mapping(address, min_align)
        assert mapping is not None
        self.slots.release(address, min_align)
        self.remember(self.pool.release(mapping), *before)

    @precondition(lambda self: self.history)
    @rule(steps=st.integers(1, 5))
    def undo(self, steps: int) -> None:
        for _ in range(min(steps, len(self.history))):
            self.slots, self.live, undo = self.history.pop()
            self.pool.undo(undo)

    @rule()
    def read_anew(self) -> None:
        """A snapshot read from the kernel's slots goes on as if one had watched from the start."""
        pool, problems = adopt(kernel_state(self.slots), rule=self.revision.rule)
        assert problems == ()
        taken = [(m.slot, m.nslots, m.pad_slots) for m in self.pool.mappings()]
        assert [(m.slot, m.nslots, m.pad_slots) for m in pool.mappings()] == taken
        self.pool = pool
        self.history.clear()

    @invariant()
    def same_state(self) -> None:
        assert self.pool.free_list() == self.slots.list_
        assert self.pool.area_used == self.slots.used
        assert self.pool.area_index == self.slots.index
        assert len(self.pool.mappings()) == len(self.live)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=MEDIUM, stateful_step_count=30, deadline=None)
