"""The state reader, over memory laid out as each recorded kernel lays out its swiotlb."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any, Final, cast

import pytest

from swiotlb_top.constants import INVALID_PHYS_ADDR
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.probes.read.program import Program, Window
from swiotlb_top.probes.read.reader import Reader
from swiotlb_top.state import AreaState, MemState
from tests.kernels import KERNELS, layout_of

MEM: Final = 0xFFFF_FFFF_8200_0000
AREAS: Final = 0xFFFF_8880_0100_0000
SLOTS: Final = 0xFFFF_8880_0200_0000
TRACK_HIWATER: Final = 0xFFFF_FFFF_8300_0000
START: Final = 0x7000_0000
NSLABS: Final = 256
USED: Final = 3
"""Slots of the second area that are in use, from its first on."""


class Memory:
    """Kernel memory, as ``read_kernel_memory`` copies it."""

    def __init__(self) -> None:
        self.regions: dict[int, bytearray] = {}

    def put(self, address: int, size_bytes: int) -> bytearray:
        return self.regions.setdefault(address, bytearray(size_bytes))

    def read(self, head: int, head_bytes: int, body: int = 0, body_bytes: int = 0) -> Window | None:
        try:
            return Window(100, 200, self._at(head, head_bytes), self._at(body, body_bytes))
        except LookupError:
            return None

    def _at(self, address: int, size_bytes: int) -> bytes:
        if not size_bytes:
            return b""
        begin = next((begin for begin, it in self.regions.items() if begin <= address < begin + len(it)), -1)
        region = self.regions[begin]
        return bytes(region[address - begin : address - begin + size_bytes])


def static_swiotlb(layout: Layout, **mem_members: int) -> Memory:
    """An allocator with one pool of two areas, as ``layout`` has it; ``mem_members`` are its own numbers."""
    memory = Memory()
    mem = memory.put(MEM, layout.size_bytes("mem"))
    for member, value in {"nslabs": NSLABS, **mem_members}.items():
        struct.pack_into("<Q", mem, layout.at("mem", member), value)
    pool = {"start": START, "nslabs": NSLABS, "areas": AREAS, "slots": SLOTS}
    for member, value in pool.items():
        struct.pack_into("<Q", mem, layout.default_pool() + layout.at("pool", member), value)
    for member, value in {"nareas": 2, "area_nslabs": NSLABS // 2}.items():
        struct.pack_into("<I", mem, layout.default_pool() + layout.at("pool", member), value)
    areas, size = memory.put(AREAS, 2 * layout.size_bytes("area")), layout.size_bytes("area")
    struct.pack_into("<Q", areas, size + layout.at("area", "used"), USED)
    struct.pack_into("<I", areas, size + layout.at("area", "index"), USED)
    write_slots(layout, memory.put(SLOTS, NSLABS * layout.size_bytes("slot")))
    memory.put(TRACK_HIWATER, 8)
    return memory


def write_slots(layout: Layout, slots: bytearray) -> None:
    list_code = "<H" if "pad_slots" in layout.features else "<I"
    for slot in range(NSLABS):
        at = slot * layout.size_bytes("slot")
        used = 0 <= slot - NSLABS // 2 < USED
        struct.pack_into(list_code, slots, at + layout.at("slot", "list"), 0 if used else expected_list(slot))
        orig_addr = 0x1234_5000 + (slot << 11) if used else INVALID_PHYS_ADDR
        struct.pack_into("<Q", slots, at + layout.at("slot", "orig_addr"), orig_addr)


def expected_list(slot: int) -> int:
    return 128 - slot % 128


def read(layout: Layout, memory: Memory, **options: Any) -> MemState:
    return Reader(cast(Program, memory), layout).mem(MEM, **options)


@pytest.mark.parametrize("kernel", ["debian-6.1", "debian", "debian-7.3"])
def test_a_static_pool_is_read_wherever_its_members_live(kernel: str) -> None:
    layout = layout_of(kernel)
    state = read(layout, static_swiotlb(layout))
    assert (state.address, state.nslabs, state.dynamic, state.can_grow) == (MEM, NSLABS, False, False)
    (pool,) = state.pools
    assert pool.address == MEM + layout.default_pool()
    assert (pool.start, pool.nslabs, pool.nareas, pool.area_nslabs) == (START, NSLABS, 2, NSLABS // 2)
    assert pool.areas == (AreaState(0, 0), AreaState(USED, USED))
    assert (pool.begin_ns, pool.end_ns, pool.transient) == (100, 200, False)
    assert [pool.list_[slot] for slot in (0, 127, 128, 130, 131, 255)] == [128, 1, 0, 0, 125, 1]
    assert pool.orig_addr[128:132] == (0x1238_5000, 0x1238_5800, 0x1238_6000, INVALID_PHYS_ADDR)
    assert pool.pad_slots == (0,) * NSLABS


def test_before_pools_the_pool_is_the_allocator() -> None:
    layout = layout_of("debian-6.1")
    assert read(layout, static_swiotlb(layout)).pools[0].address == MEM


def test_what_6_1_does_not_count_is_unknown() -> None:
    layout = layout_of("debian-6.1")
    state = read(layout, static_swiotlb(layout))
    assert (state.total_used, state.used_hiwater, state.transient_nslabs) == (-1, -1, -1)


def test_what_7_3_counts_only_if_booted_so_is_unknown_otherwise() -> None:
    layout = layout_of("debian-7.3")
    layout = replace(layout, symbols=Symbols({**layout.symbols.addresses, "track_hiwater_enabled": TRACK_HIWATER}))
    memory = static_swiotlb(layout, total_used=7, used_hiwater=9)
    state = read(layout, memory)
    assert (state.total_used, state.used_hiwater) == (-1, -1)
    memory.regions[TRACK_HIWATER][0] = 1
    state = read(layout, memory)
    assert (state.total_used, state.used_hiwater) == (7, 9)


def test_a_kernel_from_before_that_option_always_counts() -> None:
    layout = layout_of("debian")
    state = read(layout, static_swiotlb(layout, total_used=7, used_hiwater=9))
    assert (state.total_used, state.used_hiwater) == (7, 9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_whether_every_mapping_is_forced_to_bounce_is_read_of_each_kernel(kernel: str) -> None:
    layout = layout_of(kernel)
    memory = static_swiotlb(layout, nslabs=0)
    assert read(layout, memory).force_bounce == 0
    memory.regions[MEM][layout.at("mem", "force_bounce")] = 1
    assert read(layout, memory).force_bounce == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_whether_the_pools_are_shared_with_the_host_is_read_of_each_kernel_that_knows_it(kernel: str) -> None:
    layout = layout_of(kernel)
    memory = static_swiotlb(layout, nslabs=0)
    knows = "cc_shared" in layout.features
    assert knows == (kernel == "debian-7.3")
    assert read(layout, memory).cc_shared == (0 if knows else -1)
    if knows:
        memory.regions[MEM][layout.at("mem", "cc_shared")] = 1
        assert read(layout, memory).cc_shared == 1


def test_a_glance_leaves_the_slots_out() -> None:
    layout = layout_of("debian-6.1")
    (pool,) = read(layout, static_swiotlb(layout), slots=False).pools
    assert pool.areas == (AreaState(0, 0), AreaState(USED, USED))
    assert (pool.list_, pool.orig_addr, pool.alloc_size, pool.pad_slots) == ((), (), (), ())


def test_memory_that_cannot_be_read_is_an_error_that_names_it() -> None:
    with pytest.raises(CannotError, match=f"swiotlb mem at {MEM:#x}"):
        read(layout_of("debian"), Memory())


def test_a_pool_that_goes_while_it_is_read_is_an_error() -> None:
    layout = layout_of("debian")
    memory = static_swiotlb(layout)
    del memory.regions[SLOTS]
    with pytest.raises(CannotError, match="went away"):
        read(layout, memory)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_allocator_without_memory_has_no_pool(kernel: str) -> None:
    layout = layout_of(kernel)
    memory = Memory()
    memory.put(MEM, layout.size_bytes("mem"))
    state = read(layout, memory)
    assert (state.nslabs, state.pools) == (0, ())


def test_a_pool_that_was_zeroed_is_gone() -> None:
    layout = layout_of("debian")
    memory = Memory()
    memory.put(MEM, layout.size_bytes("mem"))
    with pytest.raises(CannotError, match="went away"):
        Reader(cast(Program, memory), layout).pool(MEM + layout.default_pool())
