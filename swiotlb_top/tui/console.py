"""The console frames are drawn on, and whether it is one to move about on."""

from __future__ import annotations

import os
import sys
from typing import IO, Final

from rich.console import Console

PLAIN_WIDTH: Final = 1000
"""Columns where nobody looks at a terminal: no line is wrapped or cut, so that grep finds all of it."""


def is_interactive(output: IO[str]) -> bool:
    """Whether ``output`` is a terminal that can address its cursor."""
    return output.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def open_console(output: IO[str] | None = None) -> Console:
    """A console on ``output`` (None: standard output): escape codes on capable terminals only.

    NO_COLOR takes the colours away, COLUMNS sets the width.
    """
    output = sys.stdout if output is None else output
    interactive = is_interactive(output)
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and int(columns) > 0 else None
    return Console(
        file=output,
        force_terminal=interactive,
        # FORCE_COLOR and its like would put escape codes where they cannot be read.
        color_system="auto" if interactive else None,
        width=width if interactive or output.isatty() else width or PLAIN_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )
