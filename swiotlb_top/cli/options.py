"""The options and types of options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

SECONDS_MAX: Final = 86_400.0
_UNITS_S: Final = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0}
_NUMBER_AND_UNIT: Final = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(|s|ms|m|min|h)\s*")

SIZE_MIN_BYTES: Final = 64 << 10
SIZE_MAX_BYTES: Final = 16 << 40
_UNITS_BYTES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{1,16}", re.ASCII | re.IGNORECASE)
_SIZE: Final = re.compile(r"\s*([0-9]{1,20})\s*([kmgt]?)(?:i?b)?\s*", re.ASCII | re.IGNORECASE)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_S: Final = 1e10
"""Three centuries, which no recording has."""

_SAID: Final = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)

Option: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""A decorator that adds an option to a command."""

json_option: Final[Option] = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def source_option(auto: str) -> Option:
    """The options ``--source`` and ``--program``; ``auto`` says in the former's help what "auto" chooses."""
    source = click.option(
        "--source",
        type=click.Choice(["auto", "live", "debugfs"]),
        default="auto",
        help=f"Probes, debugfs counters, or auto: {auto}. Default: auto.",
    )
    return lambda command: source(program_option()(command))


def recording_option() -> Option:
    """The option ``--output`` of a command that makes another recording of one."""
    return click.option(
        "-o",
        "--output",
        type=FileName(),
        required=True,
        metavar="OUT",
        help="Recording to write, which must not exist. No default.",
    )


def trace_option(what: str) -> Option:
    """The option ``--trace``; ``what`` is its help."""
    return click.option("--trace", type=FileName(), metavar="FILE", help=f"{what} Default: none.")


def program_option() -> Option:
    """The option ``--program`` of a command that attaches probes."""
    return click.option(
        "--program",
        type=FileName(),
        metavar="FILE",
        help="Load the probes' program from a file of program build, and compile nothing; of a directory, from the "
        "*.swprog that is for this kernel. Default: compile it once, and keep it.",
    )


def given(context: click.Context) -> set[str]:
    """The names of the parameters that the command line or the environment sets.

    :raises click.UsageError: more than one of --demo, --source and --trace is among them, or --program with what
        attaches no probes.
    """
    named = {name for name in context.params if context.get_parameter_source(name) in _SAID}
    shown = [f"--{name}" for name in ("demo", "source", "trace") if name in named]
    if len(shown) > 1:
        raise click.UsageError(f"{' and '.join(shown)} exclude each other: give one of them")
    others = {"demo", "trace"} & named or ({"source debugfs"} if context.params.get("source") == "debugfs" else set())
    if "program" in named and others:
        raise click.UsageError(f"--program is for probes: it does not go with --{min(others)}")
    return named


class FileName(click.ParamType):  # type: ignore[type-arg]
    """A path that is not checked here: whoever opens it reports what is wrong with it."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if isinstance(value, str) and not value:
            self.fail("the name of a file is needed here, and this one is empty", param, ctx)
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


@dataclass(frozen=True)
class Seconds(click.ParamType):  # type: ignore[type-arg]
    """A time from ``minimum_s`` seconds to a day: a number of seconds, or a number with another unit."""

    minimum_s: float
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return float(value)
        found = _NUMBER_AND_UNIT.fullmatch(value)
        if found is None:
            self.fail(
                f"{value!r} is no time: give seconds, as in 10 or 0.5, or a unit, as in 200ms, 5m or 1h", param, ctx
            )
        seconds = float(found[1]) * _UNITS_S[found[2]]
        if not self.minimum_s <= seconds <= SECONDS_MAX:
            self.fail(f"{value} is not between {self.minimum_s:g} and {SECONDS_MAX:g} seconds", param, ctx)
        return seconds


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A moment in a recording: a time since its beginning, or a time of the wall clock with its zone."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from swiotlb_top.recording import clock

        if found := _NUMBER_AND_UNIT.fullmatch(value):
            return clock.Moment(int(min(float(found[1]) * _UNITS_S[found[2]], _LONGEST_S) * 1e9), on_wall=False)
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no moment: give seconds from the beginning, as in 10, 200ms or 5m, or the time as in "
                "2026-11-29T03:02:01.5Z",
                param,
                ctx,
            )
        if time.tzinfo is None:
            self.fail(f"{value} has no zone: add Z for UTC, or one as in +02:00", param, ctx)
        seconds, rest = divmod(time - _EPOCH, timedelta(seconds=1))
        return clock.Moment(seconds * 1_000_000_000 + rest // timedelta(microseconds=1) * 1000, on_wall=True)


class PoolAddress(click.ParamType):  # type: ignore[type-arg]
    """The physical address of a pool's first slot, as tables have it."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not _ADDRESS.fullmatch(value):
            self.fail(f"{value!r} is no address of a pool: give it as tables do, as in 0x3e780000", param, ctx)
        return int(value, 16)


class Size(click.ParamType):  # type: ignore[type-arg]
    """The size of a file in bytes, given as a number or with a unit of 1024, 1024 times 1024 and so on."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _SIZE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no size: give bytes, or a unit, as in 500K, 100M or 2G", param, ctx)
        size_bytes = int(found[1]) * _UNITS_BYTES[found[2].lower()]
        if not SIZE_MIN_BYTES <= size_bytes <= SIZE_MAX_BYTES:
            self.fail(f"{value} is not between 64K and 16T", param, ctx)
        return size_bytes


@dataclass(frozen=True)
class Factor(click.ParamType):  # type: ignore[type-arg]
    """A number from ``least`` to ``most``."""

    least: float
    most: float
    name = "factor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number: give one from {self.least:g} to {self.most:g}", param, ctx)
        # NaN is in no range.
        if not self.least <= number <= self.most:
            self.fail(f"{value} is not between {self.least:g} and {self.most:g}", param, ctx)
        return number


class FromEnvironment(click.Command):
    """A command whose options the environment sets where the command line does not; :func:`variable` says by which
    name."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        for option in _options(self):
            option.envvar = variable(self, option)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            option = error.param
            name = option.name if option else None
            if option is None or not name or ctx.get_parameter_source(name) is not ParameterSource.ENVIRONMENT:
                raise
            whence = f"{error.message} (so says the environment variable {option.envvar})"
            raise click.BadParameter(whence, error.ctx, option, error.param_hint) from None


def variable(command: click.Command, option: click.Option) -> str:
    """The environment variable that sets an option of a command, as ``SWIOTLB_TOP_EXPORT_WEB_LISTEN_ADDRESS``."""
    spelled = max(option.opts, key=len).lstrip("-")
    return re.sub(r"\W", "_", f"SWIOTLB_TOP {command.name} {spelled}").upper()


def strays(command: click.Command, environment: Mapping[str, str]) -> list[str]:
    """Variables that are named as if they set an option of a command, and set none."""
    known = {variable(command, option) for option in _options(command)}
    prefix = f"SWIOTLB_TOP_{command.name}_".upper()
    return sorted(name for name in environment if name.startswith(prefix) and name not in known)


def _options(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option)]


def examples(*lines: str) -> str:
    """An epilog of example lines, kept as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
