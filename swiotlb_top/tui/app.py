"""The live screen: keys and frames go in, lines come out.

Textual moves the terminal: keys, sizes, the alternate screen, Ctrl-Z, and all of it back again. It
was weighed against two smaller libraries (start to first frame and CPU on one core of a 2-core
machine, 50 devices and 200 pools, 160 columns by 50 lines):

==================  =====================================================================
Textual, by lines   first frame of a recording after 0.5 s; 12 ms a frame. Taken.
Textual, widgets    a rich renderable in a Static: laid out twice, 44 ms a frame.
blessed             asks the terminal who it is, and waits 10 s where nothing answers, as on
                    a serial console.
prompt_toolkit      looks at every cell in Python; no help with testing or pictures.
==================  =====================================================================

So one widget draws :func:`swiotlb_top.tui.screen.render`'s lines, and only Textual's line interface
is used. Drawing reads the sampler's latest frame: no I/O, no lock.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeAlias

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.findings.noticing import Noticing
from swiotlb_top.sources import Source, recording_of
from swiotlb_top.sources.sampler import Sampler
from swiotlb_top.tui import config, mouse
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.keys import key_of, press, told_apart
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.sizing import Sizer
from swiotlb_top.tui.terminal import ending_on_sigterm
from swiotlb_top.tui.view import PLAIN, Page, View

LOOK_S: Final = 0.1
"""How often it looks for a new frame."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


ASKED: Final = "the flight recorder is asked for a file"
RECORDED: Final = "this is a recording already: swiotlb-top cut FILE writes a part of it"

Write: TypeAlias = Callable[[], str]


def nobody_writes() -> str:
    """What is said where no flight recorder can be asked."""
    return "not written: this screen holds no recording of the latest minutes"


class Canvas(Widget, can_focus=True, inherit_bindings=False):
    """Lines of text, drawn one by one."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Text] = []

    def show(self, lines: list[Text]) -> None:
        """Draw these from now on; what is as it was is not drawn again, which is most of it on a quiet machine."""
        changed = [y for y, (before, now) in enumerate(zip_longest(self._lines, lines)) if not _alike(before, now)]
        self._lines = lines
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._lines):
            return Strip.blank(width)
        segments = self._lines[y].render(self.app.console, end="")
        return Strip(segments).adjust_cell_length(width)


def _alike(before: Text | None, now: Text | None) -> bool:
    """Whether both are drawn the same; Text's own comparison leaves the style of the whole line out."""
    return before == now and (before is None or now is None or before.style == now.style)


class LiveScreen(App[None], inherit_bindings=False):
    """One canvas, and a view that keys change.

    :param sampler: started; its latest frame is drawn.
    :param recording: the file that is shown, if one is.
    :param view: what the user kept the last time.
    :param write: has the latest minutes of this machine written, and returns what became of it.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen, Canvas { background: ansi_default; color: ansi_default; }
    Canvas { width: 100%; height: 100%; }
    """

    def __init__(
        self,
        sampler: Sampler,
        glyphs: Glyphs,
        recording: Path | None = None,
        view: View = PLAIN,
        write: Write = nobody_writes,
    ) -> None:
        # The terminal's own colours: they suit its background, light or dark.
        super().__init__(ansi_color=True)
        self._sampler = sampler
        self._glyphs = glyphs
        self._recording = recording
        self._sizer = Sizer(recording, glyphs)
        self._canvas = Canvas()
        self._drawn: tuple[Frame, View, int, int] | None = None
        self._kept = ""
        self._write_latest = write
        self.view = view
        self.status = 0
        self.bug: Exception | None = None

    def compose(self) -> ComposeResult:
        yield self._canvas

    def on_mount(self) -> None:
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._end, 128 + number)
        self._canvas.focus()
        self.set_interval(LOOK_S, self.look)

    def on_resize(self) -> None:
        self.look()

    def on_key(self, event: events.Key) -> None:
        event.stop()
        for name, character in told_apart(event.key, event.character):
            self._guarded(partial(self._press, name, character))

    def on_click(self, event: events.Click) -> None:
        self._by_mouse(mouse.click, event.style.meta)

    def on_mouse_scroll_down(self) -> None:
        self._by_mouse(mouse.turn, "down")

    def on_mouse_scroll_up(self) -> None:
        self._by_mouse(mouse.turn, "up")

    def look(self) -> None:
        """Draw if there is a new frame, a new view or a new size."""
        self._guarded(self._draw)

    def _guarded(self, action: Callable[[], None]) -> None:
        """A bug ends the screen, and is raised when the terminal is as it was."""
        try:
            action()
        except Exception as bug:
            self.bug = bug
            self._end(1)

    def _draw(self) -> None:
        shown = self.view.paused or self._sampler.frame
        width, height = self.size
        if self.view.page is Page.SIZE and not self.view.sized and shown.now.playback:
            self.view = replace(self.view, sized=self._sizer.told())
        if self._kept:
            self.view, self._kept = replace(self.view, kept=self._kept), ""
        if (shown, self.view, width, height) != self._drawn:
            self._drawn = shown, self.view, width, height
            self._canvas.show(render(shown, self.view, self._glyphs, width, height))

    def _press(self, name: str, character: str | None = None) -> None:
        if name == "ctrl+c":
            self._end(128 + signal.SIGINT)
            return
        if name == "ctrl+z":
            self.action_suspend_process()
            return
        shown = self.view.paused or self._sampler.frame
        key = None if self.view.typing else key_of(name, playing=shown.now.playback is not None)
        if key and key.word == "quit":
            self._end(0)
            return
        if key and key.word == "keep":
            self._keep(self.view)
        if key and key.word == "write":
            self._write()
        if key and key.order:
            self._sampler.play(key.order)
        self.view = press(replace(self.view, kept=""), shown, name, character)
        self._draw()

    def _by_mouse(self, change: Callable[[View, Frame, Any], View], how: Any) -> None:
        def act() -> None:
            shown = self.view.paused or self._sampler.frame
            self.view = change(replace(self.view, kept=""), shown, how)
            self._draw()

        self._guarded(act)

    def _keep(self, view: View) -> None:
        """Keep columns and orders."""
        self._aside(lambda: config.keep(view))

    def _write(self) -> None:
        """Write the latest minutes, where somebody holds them. Of a recording, the file has them all already."""
        if self._recording is None:
            self._kept = ASKED
            self._aside(self._write_latest)
        else:
            self._kept = RECORDED

    def _aside(self, action: Callable[[], str]) -> None:
        """Do something and tell of it. A thread does it, as the disk may be stalled; who quits does not wait for it."""

        def act() -> None:
            self._kept = action()

        Thread(target=act, name="aside", daemon=True).start()

    def _end(self, status: int) -> None:
        self.status = status
        self.exit()


def run(
    source: Source, interval_s: float, glyphs: Glyphs, write: Write = nobody_writes, *, with_mouse: bool = False
) -> None:
    """Draw a frame each ``interval_s`` on the alternate screen until q.

    :param write: see :class:`LiveScreen`.
    :param with_mouse: whether clicks come here; else the mouse stays the terminal's, to select text with.
    :raises SwiotlbTopError: the first snapshot cannot be had; a later failure is drawn instead.
    :raises SystemExit: a signal ended it; with the status that says so.
    """
    with ending_on_sigterm(), Sampler(source, interval_s, notice=Noticing()) as sampler:
        screen = LiveScreen(sampler, glyphs, recording_of(source), config.load(), write)
        screen.run(mouse=with_mouse)
    if screen.bug is not None:
        raise screen.bug
    if status := screen.status or screen.return_code:
        raise SystemExit(status)
