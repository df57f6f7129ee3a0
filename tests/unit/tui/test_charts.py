"""Gauges, sparklines and strips: what a length or a height says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.slots import sets_of_areas
from swiotlb_top.accounting.snapshot import SlotsView
from swiotlb_top.tui import charts
from swiotlb_top.tui.glyphs import ASCII, UNICODE
from tests.support.snapshots import DEFAULT_POOL, GROWN_POOL


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(2, 200))
def test_a_gauge_is_empty_or_full_only_where_that_is_so(part: int, whole: int, cells: int) -> None:
    shown = charts.cells_of(min(part, whole), whole, cells)
    assert 0 <= shown <= cells
    assert (shown == 0) == (part == 0)
    assert (shown == cells) == (part >= whole)


@pytest.mark.parametrize(("part", "whole", "cells"), [(1, 2, 0), (1, 0, 5), (-1, 5, 5), (1, 2, -3)])
def test_what_cannot_be_drawn_is_nothing(part: int, whole: int, cells: int) -> None:
    assert charts.cells_of(part, whole, cells) == 0


def test_what_was_in_use_at_the_most_stands_beyond_what_is() -> None:
    assert charts.gauge(128, 384, 512, 8, UNICODE).plain == "██▒▒▒▒░░"
    assert charts.gauge(128, 384, 512, 8, ASCII).plain == "##++++.."


def test_pools_stand_side_by_side_each_as_large_as_it_is() -> None:
    gauge = charts.pools_gauge([DEFAULT_POOL, GROWN_POOL], 41, UNICODE)
    assert gauge is not None
    left, right = gauge.plain.split("│")
    assert (len(left), len(right)) == (8, 32)
    assert (left.count("█"), right.count("█")) == (6, 1)


def test_pools_too_many_to_tell_apart_are_one_gauge() -> None:
    assert charts.pools_gauge([DEFAULT_POOL] * 30, 40, UNICODE) is None
    assert charts.pools_gauge([DEFAULT_POOL], 40, UNICODE) is None
    assert charts.pools_gauge([], 40, UNICODE) is None


def test_a_sparkline_shows_the_latest_at_its_right() -> None:
    assert charts.sparkline([1, 2, 4, 8], 4, UNICODE).plain == "▁▂▄█"
    assert charts.sparkline([100, 4, 8], 2, UNICODE).plain == "▄█"
    assert charts.sparkline([8], 4, UNICODE).plain == "   █"
    assert charts.sparkline([0, 0.001, 8], 3, UNICODE).plain == " ▁█"
    assert charts.sparkline([], 3, UNICODE).plain == "   "
    assert charts.sparkline([1], 0, UNICODE).plain == ""


def test_a_heat_strip_has_a_cell_a_slot_set_and_areas_apart() -> None:
    assert DEFAULT_POOL.slots is not None
    strip, in_a_cell = charts.heat_strip(DEFAULT_POOL.slots, 80, UNICODE)
    assert (strip.plain, in_a_cell) == ("█│█│▅│▅", 1)


def test_a_large_pool_has_several_slot_sets_a_cell() -> None:
    sets = 4096
    slots = SlotsView((0,) * 8, (128,) * sets, (128,) * sets, (128,) * sets, sets)
    strip, in_a_cell = charts.heat_strip(slots, 80, UNICODE)
    assert len(strip.plain) <= 80
    assert strip.plain.count("│") == 7
    assert in_a_cell * (len(strip.plain) - 7) >= sets


@given(st.integers(1, 64), st.integers(1, 600), st.integers(1, 300))
def test_a_strip_has_a_place_for_every_slot_set_and_keeps_to_its_room(nareas: int, sets: int, cells: int) -> None:
    nareas = min(nareas, sets * 128)
    slots = SlotsView((0,) * nareas, (128,) * sets, (128,) * sets, (128,) * sets, sets)
    of_areas = sets_of_areas(slots)
    assert [number for area in of_areas for number in area] == list(range(sets))
    strip, in_a_cell = charts.heat_strip(slots, cells, UNICODE)
    drawn = strip.plain.replace("│", "")
    assert sum(-(-len(area) // in_a_cell) for area in of_areas) == len(drawn)
    assert len(strip.plain) <= max(cells, 2 * sum(bool(area) for area in of_areas))


def test_areas_that_are_no_whole_slot_sets_share_them() -> None:
    slots = SlotsView((64, 0, 64, 0), (128, 128), (64, 64), (64, 64), 2)
    assert [list(area) for area in sets_of_areas(slots)] == [[0], [], [1], []]


def test_one_slot_in_use_is_seen_in_its_slot_set() -> None:
    slots = SlotsView((1, 0), (128, 128), (127, 128), (127, 128), 2)
    assert charts.heat_strip(slots, 80, UNICODE)[0].plain == "▁│·"


def test_fragmentation_is_how_much_shorter_the_longest_run_is_than_it_could_be() -> None:
    assert DEFAULT_POOL.slots is not None
    assert DEFAULT_POOL.slots.fragmentation_percent == 50.0  # 100 free, 50 in one piece
    assert replace(DEFAULT_POOL.slots, set_longest_free_slots=(0, 0, 50, 20)).longest_free_slots == 50
    full = SlotsView((128,), (128,), (0,), (0,), 0)
    assert full.fragmentation_percent == 0.0
    whole = SlotsView((0,), (128, 128), (128, 128), (128, 128), 2)
    assert whole.fragmentation_percent == 0.0  # no mapping can have more than 128
