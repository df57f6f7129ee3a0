"""Keys as they are pressed, and a terminal that is as it was whatever ends the program."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

TERMINATED: Final = 128 + signal.SIGTERM
"""Exit status of a program that ended because it was told to."""


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that every context is left in order."""

    def end(number: int, frame: FrameType | None) -> None:
        # Once is enough: a second one must not cut the clearing up short.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(TERMINATED)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class Keys:
    """Reads single keys from a terminal that is in cbreak mode; from anything else, none ever come."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def are_read(self) -> bool:
        """Whether a key can ever come."""
        return self._descriptor is not None

    def read(self, timeout_s: float) -> str:
        """The key pressed within ``timeout_s``, or "" (also at end of file)."""
        if self._descriptor is None:
            time.sleep(timeout_s)
            return ""
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if not ready:
            return ""
        pressed = os.read(self._descriptor, 1)
        if not pressed:
            self._descriptor = None
        return pressed.decode("ascii", "replace")


@contextmanager
def keys() -> Iterator[Keys]:
    """Standard input in cbreak mode (Ctrl-C still interrupts), restored at the end."""
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (AttributeError, OSError, ValueError, termios.error):
        yield Keys(None)
        return
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        yield Keys(descriptor)
    finally:
        # Not TCSADRAIN or TCSAFLUSH: they wait for a reader that may be gone.
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
