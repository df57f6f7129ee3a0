"""The charts of the latest minutes: they take what the panels leave, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.tui import charts
from swiotlb_top.tui.glyphs import ASCII, UNICODE, Glyphs
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.timeline import LEAST_LINES, timeline
from swiotlb_top.tui.view import PLAIN
from tests.support.doctoring import GROWING
from tests.support.drawn import assert_golden, plain_text
from tests.support.screen_docs import frame_at
from tests.support.snapshots import DEBUGFS, QUIET, STALLING

GROWN = frame_at(GROWING, 3_000_000_000)


@given(st.integers(-5, 70), st.integers(1, 300), st.sampled_from([UNICODE, ASCII]))
def test_charts_keep_to_their_room(room: int, width: int, glyphs: Glyphs) -> None:
    lines = timeline(GROWN, glyphs, width, room)
    assert len(lines) <= max(room, 0)
    assert bool(lines) == (room >= LEAST_LINES)
    assert all(len(line.plain.rstrip()) <= max(width, len("─ TIME: the latest 3.0s")) for line in lines)


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
    text = plain_text(timeline(GROWN, UNICODE, 200, 20))
    assert "used slots 126 of 2,560, highest reading 2,060" in text
    assert "maps/s highest reading 32.6k" in text
    assert "TIME: the latest 3.0s" in text


@pytest.mark.parametrize(("room", "titles"), [(5, 2), (7, 4), (20, 4)])
def test_what_has_no_room_is_the_least_important(room: int, titles: int) -> None:
    text = plain_text(timeline(GROWN, UNICODE, 120, room))
    shown = [title for title in ("used slots", "failed maps/s", "\nmaps/s", "MB/s") if title in text]
    assert len(shown) == titles


def test_a_single_frame_has_no_past() -> None:
    assert timeline(Frame(QUIET), UNICODE, 120, 20) == []


def test_of_a_source_without_calls_only_slots_are_drawn() -> None:
    text = plain_text(timeline(replace(STALLING, now=DEBUGFS), UNICODE, 120, 20))
    assert "used slots" in text
    assert "maps/s" not in text


@pytest.mark.parametrize(("width", "height"), [(80, 48), (200, 60)])
def test_a_kernel_that_grows_as_it_went(width: int, height: int) -> None:
    assert_golden(f"timeline-{width}", plain_text(render(GROWN, PLAIN, UNICODE, width, height)))
