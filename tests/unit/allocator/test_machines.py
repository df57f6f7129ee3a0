"""Which machines the reference is true of, and what a search may cost who replays a stranger's recording."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import REVISIONS, Allocator, Limits, Pool, Request, TooManyAreasError
from swiotlb_top.allocator.machines import check_machine
from swiotlb_top.errors import CannotError
from swiotlb_top.events import Direction, Map
from tests.support.machines import NOT_JUDGED

START = 1 << 28


@pytest.mark.parametrize(
    ("machine", "page_size_bytes", "byte_order"),
    [("x86_64", 4096, "little"), ("aarch64", 4096, "little"), ("x86_64", 0, ""), ("i686", 0, "")],
)
def test_little_endian_machines_with_pages_of_4_kib_are_judged(
    machine: str, page_size_bytes: int, byte_order: str
) -> None:
    check_machine(machine, page_size_bytes, byte_order)


@pytest.mark.parametrize(("machine", "page_size_bytes", "byte_order", "why"), NOT_JUDGED)
def test_any_other_is_refused_with_what_is_different(
    machine: str, page_size_bytes: int, byte_order: str, why: str
) -> None:
    with pytest.raises(CannotError, match=why) as refusal:
        check_machine(machine, page_size_bytes, byte_order)
    assert machine in str(refusal.value)


def full(areas: int) -> Allocator:
    """Every slot of 128 in each area is in use."""
    pool = Pool(1, START, 128 * areas, areas)
    for area in range(areas):
        request = Request(0, 256 << 10, 0, Limits())
        pool.take(pool.search(area, request), request, 7)
    return Allocator(REVISIONS["6.10"], [pool], 128 * areas, areas, can_grow=False, dynamic=False)


@pytest.mark.parametrize("patience", [3, 4])
def test_a_search_asks_no_more_areas_than_there_is_patience_for(patience: int) -> None:
    swiotlb = full(areas=4)
    swiotlb.patience = patience
    request = Request(0, 2048, 0, Limits())
    if patience < 4:
        with pytest.raises(TooManyAreasError):
            swiotlb.find_slots(0, request)
    else:
        assert swiotlb.find_slots(0, request) is None


def test_areas_asked_elsewhere_take_of_the_same_patience() -> None:
    swiotlb = full(areas=1)
    swiotlb.patience = 5
    swiotlb.spend(5)
    with pytest.raises(TooManyAreasError):
        swiotlb.spend(1)


def a_map(tlb_addr: int) -> Map:
    return Map(
        entry_ns=1,
        exit_ns=2,
        cpu=0,
        migrated=False,
        dev=7,
        orig_addr=0x5A34,
        tlb_addr=tlb_addr,
        mapping_size_bytes=100,
        alloc_align_mask=0,
        direction=Direction.TO_DEVICE,
        attrs=0,
    )


@pytest.mark.parametrize("name", REVISIONS)
def test_what_a_device_nobody_knows_asked_for_keeps_the_low_bits_that_were_kept(name: str) -> None:
    revision = REVISIONS[name]
    request = revision.request_of(a_map(START + 0x234), None)
    assert request.limits.min_align_mask == 0x234
    assert revision.request_of(a_map(START + 0x234), Limits(min_align_mask=0xFFF)).limits.min_align_mask == 0xFFF
