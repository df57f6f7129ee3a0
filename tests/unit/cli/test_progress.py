"""The line that says how far a recording is: when it is written, and what is left of it."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.cli.progress import ProgressLine, in_words, shown
from swiotlb_top.recorder import Standing
from tests.support.terminals import written_on

SECOND_NS = 1_000_000_000


@contextmanager
def terminal(columns: int = 80) -> Iterator[tuple[TextIO, int]]:
    """A terminal to write on, and where to read what was written."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(theirs, "w", newline="") as stream:
        try:
            yield stream, ours
        finally:
            os.close(ours)


def on_screen(written: str) -> str:
    """What a terminal shows after that."""
    cells: list[str] = []
    column = 0
    for char in written:
        if char == "\r":
            column = 0
            continue
        cells[column : column + 1] = [char]
        column += 1
    return "".join(cells).rstrip()


def test_it_says_events_rate_size_losses_and_how_to_stop() -> None:
    before = Standing(2 * SECOND_NS, 1000, 9, 0)
    now = Standing(4 * SECOND_NS, 25_000, 1_260_000, 7)
    assert in_words(now, before) == "4 s: 25,000 events, 12,000/s, 1.3 MB, 7 lost; Ctrl-C stops"
    assert in_words(now, None) == "4 s: 25,000 events, 6,250/s, 1.3 MB, 7 lost; Ctrl-C stops"


def test_it_is_rewritten_once_a_second_however_often_it_is_told() -> None:
    written = io.StringIO()
    line = ProgressLine(written)
    for tick in range(1, 101):
        line.show(Standing(tick * SECOND_NS // 20, tick, 0, 0))
    assert written.getvalue().count("\r") == 5
    assert on_screen(written.getvalue()).startswith("4 s: 81 events, 20/s, ")


@given(st.lists(st.builds(Standing, *[st.integers(0, 10**18)] * 4), min_size=1))
def test_it_never_fills_the_line_and_nothing_of_it_is_left(told: list[Standing]) -> None:
    written = io.StringIO()  # which is taken for a terminal of 80 columns
    line = ProgressLine(written)
    for now in sorted(told, key=lambda now: now.elapsed_ns):
        line.show(now)
        assert 0 < len(on_screen(written.getvalue())) < 80
    line.clear()
    assert on_screen(written.getvalue()) == ""
    assert written.getvalue().endswith("\r")


def test_a_narrow_terminal_gets_what_fits() -> None:
    with terminal(columns=20) as (stream, ours):
        ProgressLine(stream).show(Standing(SECOND_NS, 5, 0, 0))
        assert on_screen(written_on(stream.fileno(), ours)) == "1 s: 5 events, 5/s,"


def test_a_terminal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (stream, ours):
        monkeypatch.setattr("sys.stderr", stream)
        with shown(terminal_is_shared=False) as watch:
            watch(Standing(SECOND_NS, 5, 0, 0))
            assert on_screen(written_on(stream.fileno(), ours)) == "1 s: 5 events, 5/s, 0.0 MB, 0 lost; Ctrl-C stops"


def test_the_line_is_gone_before_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (stream, ours):
        monkeypatch.setattr("sys.stderr", stream)

        def fail() -> None:
            with shown(terminal_is_shared=False) as watch:
                watch(Standing(SECOND_NS, 5, 0, 0))
                raise ValueError("full")

        with pytest.raises(ValueError, match="full"):
            fail()
        assert on_screen(written_on(stream.fileno(), ours)) == ""


def test_on_a_terminal_that_a_command_shares_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (stream, ours):
        monkeypatch.setattr("sys.stderr", stream)
        with shown(terminal_is_shared=True) as watch:
            watch(Standing(SECOND_NS, 5, 0, 0))
        assert written_on(stream.fileno(), ours) == ""


def test_where_standard_error_is_no_terminal_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with shown(terminal_is_shared=False) as watch:
        watch(Standing(SECOND_NS, 5, 0, 0))
    assert stream.getvalue() == ""


def test_in_the_background_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a write may stop the process, and it would write over the shell's prompt."""
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    with terminal() as (stream, ours):
        ProgressLine(stream).show(Standing(SECOND_NS, 5, 0, 0))
        assert written_on(stream.fileno(), ours) == ""
