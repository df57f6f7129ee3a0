"""What several commands' options have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
from click.core import ParameterSource

SECONDS_MAX: Final = 86_400.0

Option: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What gives a command one of its options."""

json_option: Final[Option] = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def source_option(auto: str) -> Option:
    """``--source``; ``auto`` says what that stands for."""
    return click.option(
        "--source",
        type=click.Choice(["auto", "live", "debugfs"]),
        default="auto",
        help=f"Probes, debugfs counters, or auto: {auto}. Default: auto.",
    )


def trace_option(what: str) -> Option:
    """``--trace``; ``what`` says what is done with the recording."""
    return click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help=f"{what} Default: none.")


def given(context: click.Context) -> set[str]:
    """The parameters that stand on the command line.

    :raises click.UsageError: two of them say what to look at.
    """
    named = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    shown = [f"--{name}" for name in ("demo", "source", "trace") if name in named]
    if len(shown) > 1:
        raise click.UsageError(f"{' and '.join(shown)} exclude each other: give one of them")
    return named


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
