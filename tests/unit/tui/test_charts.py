"""Gauges and sparklines: what a length or a height says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.tui import charts, styles
from swiotlb_top.tui.glyphs import ASCII, UNICODE
from tests.support.slots import mapping, slots_with
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
    assert charts.gauge(128, 384, 512, 8, UNICODE).plain == "██▒▒▒▒··"
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
    assert charts.sparkline([0, 0.001, 8], 3, UNICODE).plain == "·▁█"
    assert charts.sparkline([], 3, UNICODE).plain == "   "
    assert charts.sparkline([1], 0, UNICODE).plain == ""


def test_a_zero_is_told_from_no_value_and_has_no_colour_of_trouble() -> None:
    line = charts.sparkline([0, 0, 5], 5, UNICODE, styles.FILL_BAD)
    assert line.plain == "  ··█"
    assert [(line.plain[span.start : span.end], span.style) for span in line.spans] == [
        ("··", styles.DIM),
        ("█", styles.FILL_BAD),
    ]


def test_fragmentation_is_how_much_shorter_the_longest_run_is_than_it_could_be() -> None:
    assert DEFAULT_POOL.slots is not None
    assert DEFAULT_POOL.slots.fragmentation_percent == 50.0  # 100 free, 50 in one piece
    assert (DEFAULT_POOL.slots.longest_free_slots, DEFAULT_POOL.slots.free_runs) == (50, 3)
    full = slots_with(128, 1, [mapping(0, 128)])
    assert (full.fragmentation_percent, full.longest_free_slots, full.free_runs) == (0.0, 0, 0)
    whole = slots_with(256, 2, [])
    assert whole.free_runs == 2
    assert whole.fragmentation_percent == 0.0  # no mapping can have more than 128
