"""``--flight`` of ``swiotlb-top record`` and ``export``: the options that only go with it, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from swiotlb_top.cli.options import FileName, Option, Seconds, Size
from swiotlb_top.errors import Exit, UsageError

if TYPE_CHECKING:
    from swiotlb_top.flight.recorder import Plan

EXAMPLES: Final = (
    "swiotlb-top record --flight 60s                     the minute before a map fails, into /run/swiotlb-top",
    "swiotlb-top record --flight 5m --on use=90 -o DIR   the five minutes before nine slots in ten are in use",
    "swiotlb-top snapshot                                what it holds in memory, now",
)
_KEEP: Final = 8


class _Trigger(click.ParamType):  # type: ignore[type-arg]
    """A trigger, as flight/triggers.py has them."""

    name = "trigger"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from swiotlb_top.flight.triggers import Trigger

        try:
            return Trigger.parse(value) if isinstance(value, str) else value
        except UsageError as error:
            self.fail(str(error), param, ctx)


def _flight(default: str) -> Option:
    return click.option(
        "--flight",
        "flight_s",
        type=Seconds(1.0),
        metavar="SECONDS",
        help="Be a flight recorder: hold what came last in memory, at least so many seconds of it, and write a file "
        f"when a trigger of --on fires, or the command snapshot asks for one. Default: {default}.",
    )


_OPTIONS: Final[tuple[Option, ...]] = (
    click.option(
        "--flight-size",
        "limit_bytes",
        type=Size(),
        default="64M",
        metavar="SIZE",
        help="Memory for what is held. Where that is not enough, less than --flight is held. Default: 64M.",
    ),
    click.option(
        "--on",
        "triggers",
        type=_Trigger(),
        multiple=True,
        metavar="TRIGGER",
        help="failure: a map fails; failures=N: more than N in a second; use=PERCENT: more of all slots are in use, "
        "looked at once a second; disagreement: the reference does not do what the kernel did. May be given several "
        "times. Default: failure.",
    ),
    click.option(
        "--rearm",
        "rearm_s",
        type=Seconds(1.0),
        default=300.0,
        metavar="SECONDS",
        help="How long no trigger must have been true before one fires again, so that a storm of failures makes "
        "one file. Default: 300.",
    ),
)
_FILES: Final[tuple[Option, ...]] = (
    click.option(
        "-o",
        "--output",
        "directory",
        type=FileName(),
        metavar="DIR",
        help="The directory of the flight recorder's files. Default: /run/swiotlb-top.",
    ),
    click.option(
        "--keep",
        type=click.IntRange(min=2),
        metavar="COUNT",
        help="How many of its files stay, the latest. Default: 8.",
    ),
)
"""What ``record`` has by itself."""
_SPELLED: Final = {"limit_bytes": "--flight-size", "triggers": "--on", "rearm_s": "--rearm"}
_SPELLED_FILES: Final = {"directory": "--output", "keep": "--keep"}


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds them to ``record``."""
    return _decorated(command, (_flight("write all, at once"), *_OPTIONS))


def hosting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds them, and where files go, to a command that does something else besides."""
    return _decorated(command, (_flight("be none"), *_FILES, *_OPTIONS))


def _decorated(command: Callable[..., Any], more: Sequence[Option]) -> Callable[..., Any]:
    return reduce(lambda decorated, option: option(decorated), reversed(more), command)


def refuse(named: Collection[str], *, hosted: bool = False) -> None:
    """Refuse what makes no sense without --flight.

    :param named: the parameters that the command line sets.
    :param hosted: whether they are those of a command with :func:`hosting_options`.
    :raises click.UsageError: one of them is among these.
    """
    spelled = _SPELLED | _SPELLED_FILES if hosted else _SPELLED
    for name in sorted(spelled.keys() & named):
        raise click.UsageError(f"{spelled[name]} goes with --flight")


def fly(plan: Plan) -> Exit:
    """Run the flight recorder until it is told to stop."""
    from swiotlb_exporter.run import privileges
    from swiotlb_top.cli import complain
    from swiotlb_top.flight.recorder import fly as run

    run(plan, say=click.echo, complain=complain, attached=privileges.drop)
    return Exit.OK


def plan_of(
    directory: Path | None,
    flight_s: float,
    limit_bytes: int,
    triggers: tuple[Any, ...],
    rearm_s: float,
    keep: int | None,
    program: Path | None,
) -> Plan:
    """What the options ask for. :raises click.UsageError: they make no sense together."""
    from swiotlb_top.flight.beside import LATE_S
    from swiotlb_top.flight.recorder import Plan
    from swiotlb_top.flight.shelf import DIRECTORY
    from swiotlb_top.flight.triggers import DISAGREEMENT, Trigger
    from swiotlb_top.probes.compile.given import images

    if directory == Path("-"):
        raise click.UsageError("--flight writes files, and -o names their directory: it is not standard output")
    if flight_s < LATE_S and any(trigger.kind == DISAGREEMENT for trigger in triggers):
        raise click.UsageError(f"a disagreement is known seconds later: --flight must be {LATE_S:g} s or more for it")
    return Plan(
        directory or DIRECTORY,
        int(flight_s * 1e9),
        limit_bytes,
        keep or _KEEP,
        triggers or (Trigger("failure"),),
        int(rearm_s * 1e9),
        images(program),
    )
