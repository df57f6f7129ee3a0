"""One line on a terminal that says how far a recording is, rewritten about once a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from swiotlb_top.recorder import Standing

_INTERVAL_NS: Final = 1_000_000_000
_USUAL_COLUMNS: Final = 80


@contextmanager
def shown(*, terminal_is_shared: bool) -> Iterator[Callable[[Standing], None]]:
    """What is told how far the recording is; afterwards the line is gone, so that other lines can follow.

    Nothing is shown where standard error is no terminal.

    :param terminal_is_shared: whether somebody else may write on the terminal meanwhile. Nothing is shown then either.
    """
    if terminal_is_shared or not sys.stderr.isatty():
        yield lambda _: None
        return
    line = ProgressLine(sys.stderr)
    try:
        yield line.show
    finally:
        line.clear()


class ProgressLine:
    """The line on its terminal."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._shown = ""
        self._due_ns = 0
        self._before: Standing | None = None

    def show(self, now: Standing) -> None:
        """Rewrite the line, if that was a second ago and the shell has not put this process into the background."""
        if now.elapsed_ns < self._due_ns:
            return
        line = in_words(now, self._before)
        self._due_ns = now.elapsed_ns + _INTERVAL_NS
        self._before = now
        if _in_foreground(self._terminal):
            self._write(line[: _columns(self._terminal) - 1])

    def clear(self) -> None:
        """Leave the terminal as if nothing had been written, with the cursor where the line began."""
        if self._shown:
            self._write("")

    def _write(self, line: str) -> None:
        # Blanks do what no escape sequence does on every terminal.
        end = "" if line else "\r"
        self._terminal.write(f"\r{line.ljust(len(self._shown))}{end}")
        self._terminal.flush()
        self._shown = line


def in_words(now: Standing, before: Standing | None) -> str:
    """How far it is, in one line, with the rate since ``before`` or since the beginning."""
    since_ns, records = (before.elapsed_ns, before.records) if before else (0, 0)
    rate = (now.records - records) * 1e9 / max(now.elapsed_ns - since_ns, 1)
    return (
        f"{now.elapsed_ns / 1e9:.0f} s: {now.records:,} events, {rate:,.0f}/s, {now.size_bytes / 1e6:,.1f} MB, "
        f"{now.lost:,} lost; Ctrl-C stops"
    )


def _in_foreground(terminal: TextIO) -> bool:
    try:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return True  # it is not the terminal of this session, so that there is no background


def _columns(terminal: TextIO) -> int:
    try:
        return os.get_terminal_size(terminal.fileno()).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS
