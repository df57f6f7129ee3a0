"""The live screen driven by a pilot: every key as it is pressed, no terminal needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from rich.text import Text
from textual.pilot import Pilot
from textual.strip import Strip

from swiotlb_top.sizing.report import SizeReport, answer
from swiotlb_top.sources.sampler import Sampler
from swiotlb_top.tui import config
from swiotlb_top.tui.app import Canvas, LiveScreen, Write, nobody_writes
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS, Key
from swiotlb_top.tui.view import PLAIN, Order, Page
from tests.support.doctoring import STALL
from tests.support.snapshots import DISK, PLAYED, QUIET, STALLED, ScriptedSource

Steps = Callable[[LiveScreen, Pilot[None]], Awaitable[None]]


def drive(
    source: ScriptedSource,
    steps: Steps,
    size: tuple[int, int] = (80, 24),
    recording: Path | None = None,
    write: Write = nobody_writes,
) -> LiveScreen:
    """Run ``steps`` on a screen that shows ``source`` and is sampled only when told to."""

    async def run() -> LiveScreen:
        with Sampler(source, 3600.0) as sampler:
            screen = LiveScreen(sampler, UNICODE, recording, write=write)
            async with screen.run_test(size=size) as pilot:
                await pilot.pause()
                await steps(screen, pilot)
            return screen

    return asyncio.run(run())


def text(screen: LiveScreen) -> str:
    canvas = screen.query_one(Canvas)
    return "\n".join(canvas.render_line(y).text.rstrip() for y in range(canvas.size.height))


def test_the_first_frame_is_drawn_at_once() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        assert "0000:00:04.0 (virtio-pci, vda): 230 maps failed in the 3.0s watched" in text(screen)

    drive(ScriptedSource([STALLED]), steps)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.shown)
def test_every_key_does_on_the_screen_what_it_does_to_the_view(key: Key) -> None:
    """Quitting and Ctrl-Z are the application's own: tested on a terminal."""

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        frame = screen._sampler.frame
        for name in key.names:
            if key.change is None:
                continue
            screen.view = PLAIN.select(DISK.dev)
            wanted = key.change(screen.view, frame)
            await pilot.press(name)
            assert screen.view == wanted, name

    drive(ScriptedSource([STALLED]), steps)


@pytest.mark.parametrize("key", PLAY_KEYS, ids=lambda key: key.shown)
def test_every_playing_key_reaches_the_recording(key: Key) -> None:
    source = ScriptedSource([PLAYED])

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press(*key.names)
        while len(source.orders) < len(key.names):
            await pilot.pause(0.01)

    drive(source, steps)
    assert source.orders == [key.order] * len(key.names)


def test_a_kernel_is_not_told_to_play() -> None:
    source = ScriptedSource([STALLED])

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("space", "plus", "left")

    drive(source, steps)
    assert source.orders == []


@pytest.mark.parametrize("name", ["q", "Q"])
def test_q_ends_it(name: str) -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press(name)

    screen = drive(ScriptedSource([STALLED]), steps)
    assert (screen.status, screen.is_running) == (0, False)


def test_q_is_a_letter_while_a_filter_is_typed() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("slash", "q", "f")
        assert "filter of devices: qf_" in text(screen)
        await pilot.press("enter")
        assert "none match 'qf'" in text(screen)
        assert screen.is_running

    drive(ScriptedSource([STALLED]), steps)


def test_what_w_keeps_is_there_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("s", "W")
        while "columns and order are kept in" not in text(screen):
            await pilot.pause(0.01)
        await pilot.press("down")
        assert "q quit" in text(screen)

    screen = drive(ScriptedSource([STALLED]), steps)
    assert config.load().orders == screen.view.orders == {"devices": Order("name", ascending=True)}


def test_w_has_the_flight_recorder_write_and_says_what_became_of_it() -> None:
    may_go_on = Event()

    def write() -> str:
        may_go_on.wait(60)
        return "written: /run/swiotlb-top/swiotlb-1.swtrace"

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("w")
        assert "the flight recorder is asked for a file" in text(screen)
        may_go_on.set()
        while "written: /run/swiotlb-top/swiotlb-1.swtrace" not in text(screen):
            await pilot.pause(0.01)
        await pilot.press("down")
        assert "q quit" in text(screen)

    drive(ScriptedSource([STALLED]), steps, write=write)


def test_where_nobody_records_w_says_so_in_a_line() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("w")
        while "not written: this screen holds no recording" not in text(screen):
            await pilot.pause(0.01)

    drive(ScriptedSource([STALLED]), steps)


def test_of_a_recording_nothing_is_written_again() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("w")
        while "this is a recording already: swiotlb-top cut" not in text(screen):
            await pilot.pause(0.01)

    drive(ScriptedSource([PLAYED]), steps, recording=STALL, write=lambda: "written")


def test_the_page_of_a_device_and_back() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        assert screen.view.page is Page.DEVICE
        assert "causes of its failed maps" in text(screen)
        await pilot.press("escape", "escape")
        assert "POOLS" in text(screen)

    drive(ScriptedSource([STALLED]), steps, size=(100, 40))


def test_the_page_of_sizes_comes_when_it_is_computed_and_keys_work_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = Event()

    def slow(*arguments: Any) -> SizeReport:
        may_go_on.wait(60)
        return answer(*arguments)

    monkeypatch.setattr("swiotlb_top.sizing.report.answer", slow)

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("S")
        assert "computing how large swiotlb must be" in text(screen)
        await pilot.press("question_mark")
        assert "KEYS" in text(screen)
        may_go_on.set()
        await pilot.press("S")
        while not screen.view.sized:
            await pilot.pause(0.01)
        screen.look()
        assert "boot with at least swiotlb=512,1" in text(screen)
        await pilot.press("escape", "S")
        assert "boot with at least swiotlb=512,1" in text(screen)

    drive(ScriptedSource([PLAYED]), steps, recording=STALL)


@pytest.mark.parametrize(
    ("recording", "says"),
    [(Path("/nonexistent/a.swtrace"), "/nonexistent/a.swtrace does not exist"), (None, "is not known here")],
)
def test_where_a_recording_cannot_be_sized_the_page_says_why(recording: Path | None, says: str) -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("S")
        while not screen.view.sized:
            await pilot.pause(0.01)
        screen.look()
        assert "nothing can be said: " in text(screen)
        assert says in text(screen)

    drive(ScriptedSource([PLAYED]), steps, recording=recording)


def test_a_bug_in_sizing_ends_the_screen_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> SizeReport:
        raise ZeroDivisionError

    monkeypatch.setattr("swiotlb_top.sizing.report.answer", broken)

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("S")
        while screen.bug is None:
            await pilot.pause(0.01)

    assert isinstance(drive(ScriptedSource([PLAYED]), steps, recording=STALL).bug, ZeroDivisionError)


def test_of_a_kernel_nothing_is_computed() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("S")
        assert "swiotlb-top record -o disk.swtrace" in text(screen)
        assert screen.view.sized == ()

    drive(ScriptedSource([STALLED]), steps)


def test_paused_it_shows_the_old_frame_while_new_ones_come() -> None:
    source = ScriptedSource([PLAYED, QUIET])

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        screen._sampler.play(PLAY_KEYS[0].order)  # type: ignore[arg-type]  # it has one
        while screen._sampler.frame.now is not QUIET:
            await pilot.pause(0.01)
        screen.look()
        assert "PAUSED" in text(screen)
        assert "415 of 2,600" in text(screen)
        await pilot.press("p")
        assert "0 of 512" in text(screen)

    drive(source, steps)


def test_only_lines_that_changed_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    draw = Canvas.render_line

    def counted(canvas: Canvas, y: int) -> Strip:
        drawn.append(y)
        return draw(canvas, y)

    monkeypatch.setattr(Canvas, "render_line", counted)

    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        canvas = screen.query_one(Canvas)
        canvas.show([Text("one"), Text("two"), Text("three"), Text("four")])
        await pilot.pause()
        drawn.clear()
        canvas.show([Text("one"), Text("2"), Text("three", style="reverse"), Text("four"), Text("five")])
        await pilot.pause()

    drive(ScriptedSource([STALLED]), steps)
    assert sorted(set(drawn)) == [1, 2, 4]


def test_a_new_size_is_drawn_in_full() -> None:
    async def steps(screen: LiveScreen, pilot: Pilot[None]) -> None:
        await pilot.resize_terminal(200, 50)
        for _ in range(100):  # the canvas learns of its size first, then the screen
            if len(text(screen).splitlines()) == 50:
                break
            await pilot.pause(0.01)
        lines = text(screen).splitlines()
        assert len(lines) == 50
        assert any("DEVICES" in line and "POOLS" in line for line in lines)
        assert lines[-1].startswith("q quit")

    drive(ScriptedSource([STALLED]), steps)
