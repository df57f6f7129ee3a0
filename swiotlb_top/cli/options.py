"""What several commands' options have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import click

JSON_HELP: Final = "Machine-readable output."
SECONDS_MAX: Final = 86_400.0


def seconds_from(minimum: float) -> Callable[[str], float]:
    """A type for options: a finite time from ``minimum`` to a day, in seconds."""

    def seconds(value: str) -> float:
        number = float(value)
        if not (math.isfinite(number) and minimum <= number <= SECONDS_MAX):
            raise click.BadParameter(f"{value} is not between {minimum:g} and {SECONDS_MAX:g} seconds")
        return number

    return seconds


def examples(*lines: str) -> str:
    """An epilog of example lines, kept as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
