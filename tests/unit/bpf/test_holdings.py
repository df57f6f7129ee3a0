"""Who holds what by the BPF programs, run in this process: exact, and so again after calls that they missed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from swiotlb_top.probes.read.askers import addresses_of
from swiotlb_top.probes.read.holdings import Cell, Says
from swiotlb_top.probes.read.program import Mode
from tests.support.bpf_in_userspace import POOL_START, BpfInUserspace

CELLS = 1 << 13
KIB = 1024


def counting(directory: Path, **how: bool) -> BpfInUserspace:
    bpf = BpfInUserspace(directory, spares=False, cells=CELLS, **how)
    bpf.set_mode(Mode.COUNT)
    return bpf


@pytest.fixture
def bpf(tmp_path: Path) -> BpfInUserspace:
    return counting(tmp_path)


def made(bpf: BpfInUserspace, dev: int, slot: int, kib: int = 2) -> None:
    bpf.found(dev, kib * KIB, slot, order=("kretfunc",))


def cell(bpf: BpfInUserspace, slot: int) -> Cell:
    return bpf.holdings().at(POOL_START + slot * 2 * KIB)


def most(bpf: BpfInUserspace, dev: int) -> int:
    return bpf.totals()[dev].most_slots


def most_of_all(bpf: BpfInUserspace) -> int:
    return max(bpf.table()[23::24].tolist())


def test_a_device_holds_the_slots_of_what_it_made_until_it_is_released(bpf: BpfInUserspace) -> None:
    disk, card = bpf.device(), bpf.device()
    made(bpf, disk, 0, 32)
    made(bpf, card, 16, 4)
    assert bpf.holdings().held_slots() == {disk: 16, card: 2}
    bpf.unmapped(disk, 0)
    assert bpf.holdings().held_slots() == {disk: 0, card: 2}


def test_where_calls_are_recorded_who_holds_what_is_not_followed_and_not_known(tmp_path: Path) -> None:
    recorder = BpfInUserspace(tmp_path, spares=True)
    recorder.set_mode(Mode.RECORD)
    disk = recorder.device()
    recorder.found(disk, 32 * KIB)
    totals = recorder.totals()[disk]
    assert (totals.maps, totals.held_slots, totals.most_slots) == (1, -1, -1)


def test_a_map_that_fails_holds_nothing(bpf: BpfInUserspace) -> None:
    disk = bpf.device()
    made(bpf, disk, -1)
    assert bpf.totals()[disk].map_failures == 1
    assert bpf.holdings().held_slots() == {disk: 0}


def test_the_most_that_was_held_stays_when_it_is_released(bpf: BpfInUserspace) -> None:
    disk, card = bpf.device(), bpf.device()
    made(bpf, disk, 0, 32)
    made(bpf, card, 16, 4)
    bpf.unmapped(disk, 0)
    made(bpf, disk, 32, 8)
    bpf.unmapped(card, 16)
    assert (most(bpf, disk), most(bpf, card), most_of_all(bpf)) == (16, 2, 18)


def test_what_one_cpu_made_and_another_released_is_held_by_the_same_device(bpf: BpfInUserspace) -> None:
    disk = bpf.device()
    for cpu in range(3):
        bpf.on_cpu(cpu)
        made(bpf, disk, 8 * cpu, 16)
    bpf.on_cpu(0)
    bpf.unmapped(disk, 16)
    assert bpf.holdings().held_slots() == {disk: 16}
    assert (most(bpf, disk), most_of_all(bpf)) == (24, 24)


def test_all_together_are_counted_only_where_the_kernel_keeps_no_high_water(tmp_path: Path) -> None:
    bpf = counting(tmp_path, keeps_hiwater=True)
    disk = bpf.device()
    made(bpf, disk, 0, 32)
    assert (most(bpf, disk), most_of_all(bpf)) == (16, 0)


def test_what_is_released_and_was_not_made_since_is_taken_from_nobody_and_names_its_device(bpf: BpfInUserspace) -> None:
    disk, card = bpf.device(), bpf.device()
    made(bpf, disk, 0, 32)
    bpf.unmapped(card, 64)
    assert bpf.holdings().held_slots() == {disk: 16, card: 0}
    assert cell(bpf, 64) == Cell(Says.RELEASED, card)


def test_a_sync_names_the_device_of_what_was_not_made_since(bpf: BpfInUserspace) -> None:
    card = bpf.device()
    bpf.synced(card, 5)
    assert cell(bpf, 5) == Cell(Says.SYNCED, card)


def test_a_sync_changes_nothing_of_what_was_made_since(bpf: BpfInUserspace) -> None:
    disk, other = bpf.device(), bpf.device()
    made(bpf, disk, 5, 32)
    bpf.synced(other, 5)
    assert cell(bpf, 5) == Cell(Says.MADE, disk)
    bpf.unmapped(disk, 5)
    assert bpf.holdings().held_slots() == {disk: 0}


def test_an_unmap_that_was_missed_is_made_up_for_when_the_slots_are_used_again(bpf: BpfInUserspace) -> None:
    disk, card = bpf.device(), bpf.device()
    made(bpf, disk, 0, 32)
    made(bpf, card, 0, 4)
    assert bpf.holdings().held_slots() == {disk: 0, card: 2}


def test_a_map_that_was_missed_takes_nothing_away_when_it_is_unmapped(bpf: BpfInUserspace) -> None:
    disk = bpf.device()
    made(bpf, disk, 0, 32)
    for _ in range(3):
        bpf.unmapped(disk, 32)
    assert bpf.holdings().held_slots() == {disk: 16}


def test_of_two_mappings_with_one_cell_the_later_is_known_and_the_earlier_is_nobody_s(bpf: BpfInUserspace) -> None:
    disk, card = bpf.device(), bpf.device()
    made(bpf, disk, 3, 32)
    made(bpf, card, 3 + CELLS, 4)
    assert bpf.holdings().held_slots() == {disk: 0, card: 2}
    assert cell(bpf, 3) == Cell(Says.NOTHING, 0)
    bpf.unmapped(disk, 3)
    bpf.synced(disk, 3)
    assert bpf.holdings().held_slots() == {disk: 0, card: 2}
    bpf.unmapped(card, 3 + CELLS)
    assert bpf.holdings().held_slots() == {disk: 0, card: 0}


def test_padding_before_the_buffer_is_held_and_its_cell_is_where_the_buffer_begins(bpf: BpfInUserspace) -> None:
    disk = bpf.device(dma_parms=bpf.parameters(min_align_mask=0xFFF))
    frame = bpf.search(disk, 8 * KIB, 0, orig_addr=0x10_0800)
    frame[3] = 0xFFF  # alloc_align_mask
    bpf.run("kretfunc__swiotlb_find_slots", frame)
    assert cell(bpf, 1) == Cell(Says.MADE, disk)
    bpf.unmapped(disk, 1)
    assert (bpf.holdings().held_slots(), most(bpf, disk)) == ({disk: 0}, 4)


def test_what_is_allocated_without_a_buffer_is_not_among_the_mappings(bpf: BpfInUserspace) -> None:
    """swiotlb_alloc(): no unmap gives it back."""
    disk = bpf.device()
    bpf.run("kretfunc__swiotlb_find_slots", bpf.search(disk, 4 * KIB, 0, orig_addr=0))
    assert bpf.totals()[disk].maps == 1
    assert bpf.holdings().held_slots() == {disk: 0}


def test_a_device_where_another_was_holds_nothing_of_the_old_one_s(bpf: BpfInUserspace) -> None:
    disk = bpf.device()
    made(bpf, disk, 0, 32)
    bpf.initialised(disk)
    made(bpf, disk, 16, 4)
    assert bpf.holdings().held_slots() == {disk: 2}
    assert most(bpf, disk) == 2


def test_more_devices_than_there_is_room_for_hold_what_nobody_knows(bpf: BpfInUserspace) -> None:
    crowd = [bpf.device() for _ in range(600)]
    for slot, dev in enumerate(crowd):
        made(bpf, dev, slot)
    held = bpf.holdings().held_slots()
    assert set(held.values()) == {1}
    assert 400 < len(held) <= 512
    for slot, dev in enumerate(crowd):
        bpf.unmapped(dev, slot)
    assert set(bpf.holdings().held_slots().values()) == {0}


def test_a_failed_map_notes_the_stack_of_whoever_asked(bpf: BpfInUserspace) -> None:
    disk, card = bpf.device(), bpf.device()
    for dev, stack in ((disk, 7), (disk, 9), (card, 7), (disk, 7)):
        bpf.fails(dev, stack)
    assert bpf.failures_by_stack() == {disk: {7: 2, 9: 1}, card: {7: 1}}


def test_a_map_that_does_not_fail_notes_none(bpf: BpfInUserspace) -> None:
    made(bpf, bpf.device(), 0)
    assert bpf.failures_by_stack() == {}


def test_stacks_that_the_kernel_does_not_give_are_one_that_is_not_known(bpf: BpfInUserspace) -> None:
    disk = bpf.device()
    bpf.fails(disk, -17)
    bpf.fails(disk, -14)
    assert bpf.failures_by_stack() == {disk: {-1: 2}}


def test_what_a_device_failed_to_map_is_not_the_next_one_s_at_its_address(bpf: BpfInUserspace) -> None:
    disk = bpf.device()
    bpf.fails(disk, 7)
    bpf.initialised(disk)
    assert bpf.failures_by_stack() == {}
    bpf.fails(disk, 9)
    assert bpf.failures_by_stack() == {disk: {9: 1}}


def test_a_stack_ends_where_there_are_no_more_addresses() -> None:
    assert addresses_of(struct.pack("<4Q", 3, 2, 1, 0)) == (3, 2, 1)
    assert addresses_of(struct.pack("<2Q", 3, 2)) == (3, 2)
    assert addresses_of(b"") == ()
