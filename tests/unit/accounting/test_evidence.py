"""Where the buffers of recorded maps lie, and what a device's limits mean."""

from __future__ import annotations

from dataclasses import astuple
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting import reach
from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.evidence import Tried
from swiotlb_top.allocator import Limits, Request
from swiotlb_top.allocator.revision import REVISIONS
from swiotlb_top.constants import MAX_ALLOC_BYTES, PAGE_SIZE
from swiotlb_top.events import Device, Direction, Find, Map
from swiotlb_top.state import MemState

DEV: Final = 0xFFFF_8880_0312_F010
MEM: Final = 0xFFFF_FFFF_8340_1A00
FOUR_GIB: Final = 1 << 32
LIMITS: Final = Limits(dma_mask=FOUR_GIB - 1, min_align_mask=PAGE_SIZE - 1)


def mapped(orig_addr: int, size_bytes: int, align_mask: int = 0) -> Map:
    return Map(
        entry_ns=1,
        exit_ns=2,
        cpu=0,
        migrated=False,
        dev=DEV,
        orig_addr=orig_addr,
        mapping_size_bytes=size_bytes,
        alloc_size_bytes=0,
        alloc_align_mask=align_mask,
        direction=Direction.TO_DEVICE,
        attrs=0,
        tlb_addr=0x1000,
    )


def searched(orig_addr: int, size_bytes: int) -> Find:
    return Find(1, 2, 0, False, DEV, 0, orig_addr, size_bytes, 0, 0)


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (mapped(FOUR_GIB - 4096, 4096), Tried(within=1)),
        (mapped(FOUR_GIB - 4096, 4097), Tried(beyond=1)),
        (mapped(FOUR_GIB - 4096, 255), Tried(small=1)),
        (mapped(FOUR_GIB - 4096, 256), Tried(within=1)),
        (mapped(FOUR_GIB, 64, PAGE_SIZE - 1), Tried(translated=1)),
        (searched(FOUR_GIB - 512, 1536 + 512), Tried(within=1)),
        (searched(FOUR_GIB - 512, 1536 + 513), Tried(beyond=1)),
        (searched(0, 4096), Tried()),
    ],
    ids=["ends below", "ends above", "small", "not small", "by an IOMMU", "padded search", "and above", "no buffer"],
)
def test_a_map_is_sorted_by_where_its_buffer_ends(call: Map | Find, found: Tried) -> None:
    tried = Tried()
    tried.add(call, LIMITS)
    assert tried == found


@given(st.integers(1, (1 << 40) - 1), st.integers(1, MAX_ALLOC_BYTES), st.sampled_from([0, 0xFFF, 0x7FF, 0xFFFF]))
def test_a_search_is_sorted_as_the_map_that_asks_for_it(orig_addr: int, size_bytes: int, min_align_mask: int) -> None:
    limits = LIMITS._replace(min_align_mask=min_align_mask)
    for revision in REVISIONS.values():
        request: Request = revision.request(size_bytes, orig_addr, 0, limits)
        by_map, by_search = Tried(), Tried()
        by_map.add(mapped(orig_addr, size_bytes), limits)
        by_search.add(searched(orig_addr, request.alloc_size_bytes), limits)
        assert astuple(by_map) == astuple(by_search), revision.name


def state(force_bounce: int = -1) -> MemState:
    return MemState(MEM, 512, False, False, 512, 1, 0, (), 0, 0, -1, force_bounce=force_bounce)


def introduced(mem: int = MEM) -> Device:
    return Device(1, DEV, mem, FOUR_GIB - 1, 0, (1 << 64) - 1, 0)


def test_maps_of_a_device_that_never_introduced_itself_are_not_sorted() -> None:
    devices = Devices()
    devices.feed([mapped(FOUR_GIB, 64)])
    assert (devices[DEV].evidence().limits, devices[DEV].evidence().tried) == (None, Tried())
    devices.feed([introduced(), mapped(FOUR_GIB, 64)])
    evidence = devices[DEV].evidence()
    assert (evidence.reach, evidence.tried, evidence.is_direct) == (FOUR_GIB - 1, Tried(beyond=1), True)


@pytest.mark.parametrize(("force_bounce", "forced"), [(-1, None), (0, False), (1, True)])
def test_whether_bouncing_is_forced_holds_for_devices_from_before_and_after_the_state(
    force_bounce: int, forced: bool | None
) -> None:
    devices = Devices()
    before = devices[DEV]
    devices.state(state(force_bounce))
    assert (before.evidence().forced, devices[DEV + 8].evidence().forced) == (forced, forced)


def test_a_device_with_an_allocator_of_its_own_is_told_from_the_others() -> None:
    devices = Devices()
    devices.state(state())
    devices.feed([introduced(MEM + 8)])
    assert devices[DEV].evidence().restricted is True
    devices.feed([introduced()])
    assert devices[DEV].evidence().restricted is False


# ---- limits ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "largest", "told"),
    [
        (Limits(), 262_144, 262_144),
        (Limits(min_align_mask=0xFFF), 262_144, 258_048),
        (Limits(min_align_mask=0x1FF), 262_144, 260_096),
        (Limits(seg_boundary_mask=0xFFFF), 65_536, 262_144),
        (Limits(seg_boundary_mask=0x3FFFF), 262_144, 262_144),
        (Limits(seg_boundary_mask=0x3FF), 2_048, 262_144),
        (Limits(min_align_mask=0xFFFF_FFFF), 262_144, 0),
    ],
)
def test_the_largest_mapping_and_what_the_driver_is_told(limits: Limits, largest: int, told: int) -> None:
    assert (reach.largest_bytes(limits), reach.told_bytes(limits)) == (largest, told)


def test_limits_in_words() -> None:
    assert reach.in_words(Limits()) == (
        ("reaches", "every address (dma_mask of 64 bits)"),
        ("boundary", "none"),
        ("keeps", "no bits of a buffer's address (min_align_mask)"),
        ("largest", "nothing over 262,144 bytes can be mapped, whatever swiotlb= says"),
    )
    nvme = Limits(
        seg_boundary_mask=0xFFFF_FFFF, min_align_mask=0xFFF, dma_mask=(1 << 48) - 1, bus_dma_limit=0x7FFF_FFFF
    )
    assert dict(reach.in_words(nvme)) == {
        "reaches": "addresses up to 0x7fffffff (bus_dma_limit)",
        "boundary": "no mapping crosses a multiple of 0x100000000 (seg_boundary_mask)",
        "keeps": "the bits 0xfff of a buffer's address (min_align_mask)",
        "largest": "nothing over 262,144 bytes can be mapped, whatever swiotlb= says; over 258,048 only where the low "
        "bits of the buffer's address allow",
    }
    assert dict(reach.in_words(LIMITS))["reaches"] == "addresses up to 0xffffffff (dma_mask)"
