"""The map of slots: every slot has its place, and is drawn as what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from swiotlb_top.accounting.slots import MOST_MAPPINGS, SlotsView, slots_views
from swiotlb_top.allocator import Pool
from swiotlb_top.allocator.mapping import Mapping
from swiotlb_top.allocator.request import Limits, Request
from swiotlb_top.tui import slot_map
from swiotlb_top.tui.cells import cells_of_areas, laid_out
from swiotlb_top.tui.glyphs import ASCII, UNICODE, Glyphs
from swiotlb_top.tui.owners import NOBODY, Owners
from tests.support.slots import mapping, slots_with
from tests.support.snapshots import DISK, NVME

OWNERS = Owners([DISK, NVME])


@st.composite
def pools(draw: st.DrawFn) -> SlotsView:
    """Any geometry, areas that are no whole slot sets among them, with mappings that stay in their slot sets."""
    nareas = draw(st.integers(1, 9))
    nslabs = draw(st.integers(nareas, 900))
    live, slot = [], 0
    while slot < nareas * (nslabs // nareas):
        free, used = draw(st.integers(0, 40)), draw(st.integers(1, 128))
        begin = slot + free
        slot = min(begin + used, begin // 128 * 128 + 128, nslabs)
        if begin < min(slot, nareas * (nslabs // nareas)):
            live.append(mapping(begin, slot - begin, draw(st.integers(0, 3))))
    return slots_with(nslabs, nareas, live)


@given(pools(), st.integers(0, 8))
def test_every_slot_of_an_area_is_in_one_cell_and_is_used_there_if_it_is(slots: SlotsView, order: int) -> None:
    areas = cells_of_areas(slots, 1 << order)
    assert [sum(cell.nslots for cell in cells) for cells in areas] == [slots.area_nslabs] * len(slots.area_used_slots)
    in_use = {s for m in slots.mappings or () for s in range(m.slot, m.slot + m.nslots)}
    first = 0
    for cell in (cell for cells in areas for cell in cells):
        assert cell.used_slots == len(in_use.intersection(range(first, first + cell.nslots)))
        assert (cell.dev is not None) == bool(cell.used_slots)
        first += cell.nslots


@given(pools())
def test_a_cell_of_one_slot_is_its_mapping_s(slots: SlotsView) -> None:
    cells = [cell for cells in cells_of_areas(slots, 1) for cell in cells]
    for one in slots.mappings or ():
        own = cells[one.slot : one.slot + one.nslots]
        assert {cell.dev for cell in own} == {one.dev}
        assert [cell.begins for cell in own] == [True, *[False] * (len(own) - 1)]


@given(pools(), st.integers(1, 300), st.integers(1, 60), st.sampled_from([UNICODE, ASCII]))
def test_the_map_keeps_to_its_room(slots: SlotsView, width: int, lines: int, glyphs: Glyphs) -> None:
    drawn, layout = slot_map.draw(slots, OWNERS, glyphs, width, lines)
    assert len(drawn) <= lines
    assert len(drawn) == layout.lines or drawn[-1].plain.endswith("more areas")
    if width > 20 and not drawn[-1].plain.endswith("more areas"):
        assert max(len(line.plain) for line in drawn) <= width


def test_a_line_has_no_more_than_a_slot_set_however_wide_the_screen_is() -> None:
    drawn, _ = slot_map.draw(slots_with(512, 1, []), OWNERS, UNICODE, 1000, 12)
    assert [len(line.plain) for line in drawn] == [4 + 128] * 4


@given(pools(), st.integers(1, 60))
def test_no_finer_cells_would_fit(slots: SlotsView, lines: int) -> None:
    chosen = laid_out(slots, 64, lines)
    finer = laid_out(slots, 64, chosen.lines * 2)
    assert finer.grain_slots <= chosen.grain_slots
    assert chosen.grain_slots == 1 or laid_out(slots, 64, 10**6).lines > lines


def words(lines: list[Text]) -> list[str]:
    return [line.plain for line in lines]


def test_with_a_cell_a_slot_each_mapping_begins_with_its_device_s_capital() -> None:
    slots = slots_with(
        32, 2, [mapping(0, 3, DISK.dev), mapping(3, 2, DISK.dev), mapping(17, 4, NVME.dev), mapping(30, 2)]
    )
    drawn, layout = slot_map.draw(slots, OWNERS, UNICODE, 19, 4)
    assert words(drawn) == [" 0 AaaAa───────────", "16 ─Bbbb·········??"]
    assert layout.grain_slots == 1


def test_a_mapping_is_a_block_of_its_device_s_colour_behind_its_letter() -> None:
    slots = slots_with(8, 1, [mapping(0, 4, DISK.dev), mapping(4, 4, NVME.dev)])
    (line,) = slot_map.draw(slots, OWNERS, UNICODE, 10, 1)[0]
    seen = [(line.plain[span.start : span.end], str(span.style)) for span in line.spans[1:]]
    disk, nvme = OWNERS.of(DISK.dev), OWNERS.of(NVME.dev)
    assert seen == [
        ("A", f"{disk.ink} on {disk.fill}"),
        ("aaa", f"{disk.fill} on {disk.fill}"),
        ("B", f"{nvme.ink} on {nvme.fill}"),
        ("bbb", f"{nvme.fill} on {nvme.fill}"),
    ]
    assert disk.fill != nvme.fill


def test_with_several_slots_a_cell_a_letter_is_a_full_one_and_a_bar_one_in_part() -> None:
    slots = slots_with(32, 1, [mapping(0, 10, DISK.dev), mapping(10, 1, NVME.dev), mapping(31, 1)])
    drawn, layout = slot_map.draw(slots, OWNERS, UNICODE, 12, 1)
    assert (layout.grain_slots, words(drawn)) == (4, [" 0 aa▆────▂"])
    assert any(said.startswith("a cell is 4 slots") for said in slot_map.scale(slots, layout, UNICODE))


def test_areas_that_share_a_line_stand_apart() -> None:
    slots = slots_with(32, 4, [mapping(8, 8, DISK.dev)])
    assert words(slot_map.draw(slots, OWNERS, UNICODE, 24, 2)[0]) == [" 0 ········│Aaaaaaaa", "16 ────────│────────"]


def test_more_areas_than_there_is_room_for_are_counted() -> None:
    drawn, _ = slot_map.draw(slots_with(300, 300, []), OWNERS, UNICODE, 24, 3)
    assert words(drawn)[-1] == "… 280 more areas"


def test_slots_in_use_by_no_mapping_that_is_known_are_told_from_those_of_nobody() -> None:
    slots = slots_with(4, 1, [mapping(0, 2)])
    (line,) = slot_map.draw(replace(slots, mappings=()), OWNERS, UNICODE, 10, 1)[0]
    assert line.plain == "0 ##──"
    (line,) = slot_map.draw(slots, OWNERS, UNICODE, 10, 1)[0]
    assert line.plain == "0 ??──"


def test_the_legend_has_who_has_most_first_and_no_more_than_fit() -> None:
    slots = slots_with(
        256, 1, [mapping(0, 3, DISK.dev), mapping(3, 2, DISK.dev), mapping(17, 40, NVME.dev), mapping(60, 1)]
    )
    (line,) = slot_map.legend(slots, OWNERS, UNICODE, 200)
    assert line.plain.split("   ") == [
        " B  0000:00:05.0 (nvme0n1): 40 slots in 1",
        " A  0000:00:04.0 (vda): 5 slots in 2",
        " ?  not known whose: 1 slot in 1",
    ]
    (line,) = slot_map.legend(slots, OWNERS, UNICODE, 80)
    assert line.plain.endswith("5 slots in 2")
    assert slot_map.legend(slots_with(256, 1, []), OWNERS, UNICODE, 80) == []


def test_devices_keep_their_letters_whatever_they_hold_and_the_27th_shares_a_sign() -> None:
    assert Owners([NVME, DISK]).of(DISK.dev) == OWNERS.of(DISK.dev)
    assert OWNERS.of(0) is NOBODY
    many = Owners(replace(DISK, dev=number, name=f"device-{number:02}") for number in range(1, 31))
    assert [many.of(number).letter for number in (1, 26, 27, 30)] == ["a", "z", "+", "+"]


def test_of_a_pool_with_very_many_mappings_only_free_slots_are_shown() -> None:
    pool = Pool(1, 0, 2 * MOST_MAPPINGS, 1)
    for slot in range(MOST_MAPPINGS):
        pool.take(2 * slot, Request(0, 2048, 0, Limits()), DISK.dev)
    (slots,) = slots_views([pool])
    assert len(slots.mappings or ()) == MOST_MAPPINGS
    pool.take(1, Request(0, 2048, 0, Limits()), DISK.dev)
    (slots,) = slots_views([pool])
    assert slots.mappings is None
    assert words(slot_map.draw(slots, OWNERS, UNICODE, 80, 1)[0]) == ["    0 " + "▄" * 64]
    assert slot_map.legend(slots, OWNERS, UNICODE, 80) == []


def test_the_mappings_of_all_pools_together_are_no_more_than_that() -> None:
    pools = [Pool(number, 0, 2 * MOST_MAPPINGS, 1) for number in range(3)]
    for pool in pools[:2]:
        for slot in range(MOST_MAPPINGS - 1):
            pool.take(slot, Request(0, 2048, 0, Limits()), DISK.dev)
    pools[2].take(0, Request(0, 2048, 0, Limits()), DISK.dev)
    assert [one.mappings and len(one.mappings) for one in slots_views(pools)] == [MOST_MAPPINGS - 1, None, 1]


@pytest.mark.parametrize("most", [1, 2])
def test_a_pool_tells_its_mappings_up_to_a_number(most: int) -> None:
    pool = Pool(1, 0, 128, 1)
    undone = [pool.take(slot, Request(0, 2048, 0, Limits()), DISK.dev) for slot in (4, 2)]
    expected: set[Mapping] = {undo.mapping for undo in undone}
    assert set(pool.held(2) or ()) == expected
    assert (pool.held(most) is None) == (most == 1)
