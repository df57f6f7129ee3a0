"""Whose the mappings are that were there before: known from when the device shows itself, and never guessed."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import Final

import pytest

from swiotlb_top.accounting.snapshot import Earlier
from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.probes.read.holdings import Holdings, Says
from swiotlb_top.sources.earlier import EarlierMappings, mappings_of
from tests.support.doctoring import STALL
from tests.support.live_session import of

START: Final = 0x7BF0_0000
CELLS: Final = 256
DISK, CARD = 0xFFFF_8880_0123_4000, 0xFFFF_8880_0456_7000
PLACES: Final = {DISK: 7, CARD: 512}


class Cells:
    """What the probes keep, written by hand."""

    def __init__(self) -> None:
        self._words = memoryview(bytearray(8 * CELLS)).cast("Q")
        holders = memoryview(bytearray(64 * 513))
        for dev, place in PLACES.items():
            holders[64 * place : 64 * place + 8] = dev.to_bytes(8, "little")
        self.holdings = Holdings(self._words, holders.cast("q"))

    def say(self, slot: int, says: Says, dev: int, nslots: int = 0) -> None:
        number = START // IO_TLB_SIZE + slot
        self._words[number % CELLS] = number << 24 | nslots << 12 | says << 10 | PLACES[dev]


def found(*sizes_slots: int) -> list[tuple[int, int]]:
    """Mappings of these sizes, one behind the other."""
    ends = [*accumulate(sizes_slots)]
    return [(START + (end - size) * IO_TLB_SIZE, size) for end, size in zip(ends, sizes_slots, strict=True)]


@pytest.fixture
def cells() -> Cells:
    return Cells()


def test_what_is_there_is_nobody_s_at_first(cells: Cells) -> None:
    earlier = EarlierMappings(found(16, 2), cells.holdings)
    assert (earlier.unowned_maps, earlier.slots, earlier.of_devices()) == (2, 18, {})


def test_a_sync_tells_whose_a_mapping_is(cells: Cells) -> None:
    earlier = EarlierMappings(found(16, 2), cells.holdings)
    cells.say(16, Says.SYNCED, CARD)
    earlier.look()
    assert (earlier.unowned_maps, earlier.slots) == (1, 18)
    assert earlier.of_devices() == {CARD: Earlier(maps=1, slots=2)}


def test_so_does_a_sync_of_a_part_of_it(cells: Cells) -> None:
    earlier = EarlierMappings(found(16, 2), cells.holdings)
    cells.say(11, Says.SYNCED, DISK)
    earlier.look()
    assert earlier.of_devices() == {DISK: Earlier(maps=1, slots=16)}


def test_what_is_released_is_held_no_more_and_counts_as_an_unmap_of_an_older_mapping(cells: Cells) -> None:
    earlier = EarlierMappings(found(16, 2), cells.holdings)
    cells.say(0, Says.RELEASED, DISK)
    for _ in range(2):
        earlier.look()
        assert (earlier.unowned_maps, earlier.slots) == (1, 2)
        assert earlier.of_devices() == {DISK: Earlier(unmaps=1)}


def test_what_is_synced_and_then_released_has_had_one_device_all_the_time(cells: Cells) -> None:
    earlier = EarlierMappings(found(16, 2), cells.holdings)
    for says, known in ((Says.SYNCED, Earlier(1, 16, 0)), (Says.RELEASED, Earlier(0, 0, 1))):
        cells.say(0, says, CARD)
        earlier.look()
        assert earlier.of_devices() == {CARD: known}


def test_what_was_made_since_is_not_among_them(cells: Cells) -> None:
    """The probes count it; a copy of the slots shows it as any other."""
    cells.say(0, Says.MADE, DISK, 16)
    earlier = EarlierMappings(found(16, 2), cells.holdings)
    assert (earlier.slots, earlier.of_devices()) == (2, {})


def test_one_whose_slots_are_another_s_is_over_though_its_release_was_not_seen(cells: Cells) -> None:
    earlier = EarlierMappings(found(16, 2), cells.holdings)
    cells.say(3, Says.MADE, CARD, 2)
    earlier.look()
    assert (earlier.slots, earlier.of_devices()) == (2, {})


def test_a_cell_of_other_slots_says_nothing(cells: Cells) -> None:
    cells.say(CELLS, Says.SYNCED, CARD)
    earlier = EarlierMappings(found(16, 2), cells.holdings)
    assert (earlier.unowned_maps, earlier.of_devices()) == (2, {})


def test_a_mapping_is_followed_over_the_end_of_the_table(cells: Cells) -> None:
    end = CELLS - START // IO_TLB_SIZE % CELLS
    earlier = EarlierMappings([(START + (end - 4) * IO_TLB_SIZE, 16)], cells.holdings)
    cells.say(end + 5, Says.SYNCED, CARD)
    earlier.look()
    assert earlier.of_devices() == {CARD: Earlier(maps=1, slots=16)}


def test_the_mappings_of_a_copy_are_those_that_the_reference_finds() -> None:
    _, state, _ = of(STALL)
    (pool,) = state.pools
    held = {slot: (116 - slot) * IO_TLB_SIZE for slot in range(100, 116)}
    list_ = tuple(0 if slot in held else free for slot, free in enumerate(pool.list_))
    alloc_size = tuple(held.get(slot, 0) for slot in range(pool.nslabs))
    copied = replace(pool, list_=list_, alloc_size=alloc_size)
    assert list(mappings_of(replace(state, pools=(copied,)))) == [(pool.start + 100 * IO_TLB_SIZE, 16)]
