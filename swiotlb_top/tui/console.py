"""The console on which frames are printed, and whether the terminal can show a live screen."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import IO, Final

from rich.console import Console

PLAIN_WIDTH: Final = 1000
"""Width of output that goes to no terminal: no line is wrapped or cut, so that grep finds all of it."""
_ANY_HEIGHT: Final = 25
_COLUMNS: Final = re.compile("[1-9][0-9]{0,5}")


def is_interactive() -> bool:
    """Whether a screen can be drawn and keys be read.

    That takes a terminal that can address its cursor, and all three streams on it: keys are read from standard
    input, and Textual draws on standard error.
    """
    capable = os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
    return capable and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def open_console(output: IO[str] | None = None) -> Console:
    """A console on ``output`` (None: standard output) for plain text, without escape codes.

    COLUMNS sets the width; without it a terminal has its own, and anything else a very large one.
    """
    output = sys.stdout if output is None else output
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if _COLUMNS.fullmatch(columns) else PLAIN_WIDTH
    return Console(
        file=output,
        # FORCE_COLOR and its like would put escape codes where they cannot be read.
        force_terminal=False,
        color_system=None,
        width=shutil.get_terminal_size().columns if output.isatty() else width,
        height=_ANY_HEIGHT,
        # rich would read COLUMNS and LINES by itself, and takes what is no number for one.
        _environ={},
        highlight=False,
        markup=False,
        emoji=False,
    )
