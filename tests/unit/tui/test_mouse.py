"""A click and the wheel, on a screen as wide as one column and as two."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual import events
from textual.pilot import Pilot

from swiotlb_top.tui.app import Canvas, LiveScreen
from swiotlb_top.tui.mouse import LINES, click
from swiotlb_top.tui.view import PLAIN, Order, Page
from tests.support.snapshots import NVME, STALLED, STALLING, ScriptedSource
from tests.unit.tui.test_app import drive, text

SIZES = [(100, 45), (160, 45)]


async def click_on(screen: LiveScreen, pilot: Pilot[None], words: str) -> None:
    lines = text(screen).splitlines()
    y, line = next((y, line) for y, line in enumerate(lines) if words in line)
    await pilot.click(Canvas, offset=(line.index(words) + 1, y))


@pytest.mark.parametrize("size", SIZES)
def test_a_click_selects_a_row_and_another_opens_it(size: tuple[int, int]) -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await click_on(screen, pilot, "0000:00:05.0  ")
        assert screen.view == PLAIN.select(NVME.dev)
        await click_on(screen, pilot, "0000:00:05.0  ")
        assert screen.view.page is Page.DEVICE

    drive(ScriptedSource([STALLED]), steps, size)


@pytest.mark.parametrize("size", SIZES)
def test_a_click_on_a_title_goes_to_the_panel(size: tuple[int, int]) -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await click_on(screen, pilot, "POOLS ")
        assert screen.view.focus == "pools"
        await click_on(screen, pilot, "swiotlb-top")
        assert screen.view.focus == "pools"

    drive(ScriptedSource([STALLED]), steps, size)


def test_a_click_on_a_line_of_a_menu_chooses_it() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("f6")
        await click_on(screen, pilot, "HELD ")
        assert (screen.view.page, screen.view.orders) == (Page.PANELS, {"devices": Order("held_maps")})

    drive(ScriptedSource([STALLED]), steps)


def test_the_wheel_is_some_lines_up_or_down() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await pilot._post_mouse_events([events.MouseScrollDown], Canvas, offset=(5, 5))
        assert screen.view.scroll == LINES
        await pilot._post_mouse_events([events.MouseScrollUp], Canvas, offset=(5, 5))
        assert screen.view.scroll == 0

    drive(ScriptedSource([STALLED]), steps)


def test_while_a_filter_is_typed_a_click_is_nothing() -> None:
    typing = replace(PLAIN, typing=True)
    assert click(typing, STALLING, {"panel": "pools"}) == typing


def test_where_nothing_is_marked_a_click_is_nothing() -> None:
    assert click(PLAIN, STALLING, {}) == PLAIN
