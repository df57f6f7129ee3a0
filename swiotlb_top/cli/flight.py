"""``swiotlb-top record --flight``: the options that only go with it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import reduce
from pathlib import Path
from typing import Any, Final

import click

from swiotlb_top.cli.options import Option, Seconds, Size
from swiotlb_top.errors import Exit, UsageError

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


_OPTIONS: Final[tuple[Option, ...]] = (
    click.option(
        "--flight",
        "flight_s",
        type=Seconds(1.0),
        metavar="SECONDS",
        help="Be a flight recorder: hold what came last in memory, at least so many seconds of it, and write a file "
        "when a trigger of --on fires, or the command snapshot asks for one. Default: write all, at once.",
    ),
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
_SPELLED: Final = {"limit_bytes": "--flight-size", "triggers": "--on", "rearm_s": "--rearm"}


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds them to a command."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), command)


def refuse(named: Collection[str]) -> None:
    """Refuse what makes no sense without --flight.

    :param named: the parameters that the command line sets.
    :raises click.UsageError: one of them is among these.
    """
    for name in sorted(_SPELLED.keys() & named):
        raise click.UsageError(f"{_SPELLED[name]} goes with --flight")


def fly(
    directory: Path | None,
    flight_s: float,
    limit_bytes: int,
    triggers: tuple[Any, ...],
    rearm_s: float,
    keep: int | None,
) -> Exit:
    """Run the flight recorder until it is told to stop."""
    from swiotlb_exporter.run import privileges
    from swiotlb_top.cli import complain
    from swiotlb_top.flight.beside import LATE_S
    from swiotlb_top.flight.recorder import Plan
    from swiotlb_top.flight.recorder import fly as run
    from swiotlb_top.flight.shelf import DIRECTORY
    from swiotlb_top.flight.triggers import DISAGREEMENT, Trigger

    if directory == Path("-"):
        raise click.UsageError("--flight writes files, and -o names their directory: it is not standard output")
    if flight_s < LATE_S and any(trigger.kind == DISAGREEMENT for trigger in triggers):
        raise click.UsageError(f"a disagreement is known seconds later: --flight must be {LATE_S:g} s or more for it")
    plan = Plan(
        directory or DIRECTORY,
        int(flight_s * 1e9),
        limit_bytes,
        keep or _KEEP,
        triggers or (Trigger("failure"),),
        int(rearm_s * 1e9),
    )
    run(plan, say=click.echo, complain=complain, attached=privileges.drop)
    return Exit.OK
