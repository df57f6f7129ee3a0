"""The charts of the latest minutes: they take what the panels leave, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.readings import Reading
from swiotlb_top.tui import charts
from swiotlb_top.tui.glyphs import ASCII, UNICODE, Glyphs
from swiotlb_top.tui.keys import WINDOWS, press
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.timeline import LEAST_LINES, in_cells, timeline
from swiotlb_top.tui.view import PLAIN
from tests.support.doctoring import GROWING
from tests.support.drawn import assert_golden, plain_text
from tests.support.screen_docs import frame_at
from tests.support.snapshots import DEBUGFS, QUIET, SECOND_NS, STALLED, STALLING

GROWN = frame_at(GROWING, 3_000_000_000)


@given(st.integers(-5, 70), st.integers(1, 300), st.sampled_from([UNICODE, ASCII]), st.sampled_from(WINDOWS))
def test_charts_keep_to_their_room(room: int, width: int, glyphs: Glyphs, minutes: int) -> None:
    lines = timeline(GROWN, minutes, glyphs, width, room)
    assert len(lines) <= max(room, 0)
    assert bool(lines) == (room >= LEAST_LINES)
    assert all(len(line.plain.rstrip()) <= max(width, len(lines[0].plain)) for line in lines[1:])


@given(st.lists(st.floats(0, 1e9), max_size=200), st.integers(0, 150), st.integers(1, 9))
def test_a_column_is_as_high_as_its_value_and_any_but_0_is_seen(values: list[float], cells: int, rows: int) -> None:
    top = max(values, default=0.0)
    lines = charts.columns(values, top, cells, rows, UNICODE)
    assert (len(lines), {len(line) for line in lines}) == (rows, {cells})
    for value, column in zip(
        reversed(values[-cells:] if cells else []), zip(*map(reversed, lines), strict=True), strict=False
    ):
        height = sum(UNICODE.spark.index(cell) for cell in column)
        assert (height == 0) == (value == 0)
        assert abs(height - value / top * rows * 8 if top else 0) <= 1


def test_used_slots_stand_against_all_slots_and_the_others_against_their_highest() -> None:
    text = plain_text(timeline(GROWN, 2, UNICODE, 200, 20))
    assert "used slots 126 of 2,560 now, highest reading 2,060" in text
    assert "maps/s 18.7k now, highest reading 32.6k" in text
    assert "TIME: the latest 2 minutes (5 s of them)" in text


@pytest.mark.parametrize(("room", "titles"), [(5, 2), (7, 4), (20, 4)])
def test_what_has_no_room_is_the_least_important(room: int, titles: int) -> None:
    text = plain_text(timeline(GROWN, 2, UNICODE, 120, room))
    shown = [title for title in ("used slots", "failed maps/s", "\nmaps/s", "MB/s") if title in text]
    assert len(shown) == titles


def test_a_single_frame_has_no_past() -> None:
    assert timeline(Frame(QUIET), 2, UNICODE, 120, 20) == []


def test_of_a_source_without_calls_only_slots_are_drawn() -> None:
    text = plain_text(timeline(replace(STALLING, now=DEBUGFS), 2, UNICODE, 120, 20))
    assert "used slots" in text
    assert "maps/s" not in text


@pytest.mark.parametrize(("width", "height"), [(80, 48), (200, 60)])
def test_a_kernel_that_grows_as_it_went(width: int, height: int) -> None:
    assert_golden(f"timeline-{width}", plain_text(render(GROWN, PLAIN, UNICODE, width, height)))


def test_what_is_now_is_what_the_line_of_rates_says() -> None:
    lines = plain_text(render(GROWN, PLAIN, UNICODE, 120, 40)).splitlines()
    (rates,) = (line for line in lines if line.startswith("rates"))
    (now,) = (line for line in lines if line.startswith("maps/s"))
    assert rates.startswith("rates    maps 18.7k/s")
    assert now.startswith("maps/s 18.7k now")


def test_a_peak_that_no_reading_met_is_said_beside_the_readings() -> None:
    shown = replace(GROWN, now=replace(GROWN.now, used_hiwater_slots=2_300))
    assert "highest reading 2,060, peak 2,300" in plain_text(timeline(shown, 2, UNICODE, 200, 20))


def test_the_keys_choose_from_one_minute_to_120_and_no_further() -> None:
    view, chosen = PLAIN, []
    for name in ["left_square_bracket"] * 3 + ["right_square_bracket"] * 9:
        view = press(view, STALLING, name)
        chosen.append(view.minutes)
    assert chosen == [1, 1, 1, 2, 5, 10, 20, 30, 60, 120, 120, 120]


@pytest.mark.parametrize(("minutes", "shows"), [(1, False), (2, True), (120, True)])
def test_what_is_longer_ago_than_the_window_is_in_no_chart(minutes: int, shows: bool) -> None:
    end_ns = STALLED.time_ns + 100 * SECOND_NS
    readings = (
        Reading(end_ns - 110 * SECOND_NS, end_ns - 100 * SECOND_NS, 777, 0.0, 0.0, 0.0),
        Reading(end_ns - 10 * SECOND_NS, end_ns, 100, 0.0, 0.0, 0.0),
    )
    frame = replace(STALLING, now=replace(STALLED, time_ns=end_ns, used_hiwater_slots=0), readings=readings)
    text = plain_text(timeline(frame, minutes, UNICODE, 120, 20))
    assert ("highest reading 777" in text) is shows
    assert ("highest reading 100" in text) is not shows
    assert f"the latest {'minute' if minutes == 1 else f'{minutes} minutes'} " in text


def test_a_cell_has_the_highest_of_its_readings_and_nothing_where_nothing_was_read() -> None:
    readings = [Reading(20, 25, 1, 0, 0, 0), Reading(25, 30, 9, 0, 0, 0), Reading(35, 55, 4, 0, 0, 0)]
    assert in_cells(readings, lambda reading: reading.used_slots, 10, 40, 4) == [None, 9, 4, 4]


def test_no_screen_has_both_the_charts_and_the_trend() -> None:
    for height in range(10, 80):
        text = plain_text(render(GROWN, PLAIN, UNICODE, 120, height))
        assert not (text.count("─ TIME: ") and text.count("\ntrend")), height
    assert "─ TIME: " in plain_text(render(GROWN, PLAIN, UNICODE, 120, 40))
