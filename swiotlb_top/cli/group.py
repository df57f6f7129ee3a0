"""``swiotlb-top`` itself: the live screen, and the commands beside it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from swiotlb_top import __version__
from swiotlb_top.cli import top
from swiotlb_top.cli.anonymise import anonymise
from swiotlb_top.cli.check import check
from swiotlb_top.cli.convert import convert
from swiotlb_top.cli.cut import cut
from swiotlb_top.cli.diff import diff
from swiotlb_top.cli.doctor import doctor
from swiotlb_top.cli.export import export
from swiotlb_top.cli.info import info
from swiotlb_top.cli.man import man
from swiotlb_top.cli.options import Factor, Seconds, examples, given, source_option, trace_option
from swiotlb_top.cli.program import program as of_programs
from swiotlb_top.cli.record import record
from swiotlb_top.cli.replay import replay
from swiotlb_top.cli.revisions import revisions
from swiotlb_top.cli.size import size
from swiotlb_top.cli.snapshot import snapshot
from swiotlb_top.cli.why import why
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top                          watch this machine",
    "swiotlb-top -n 1                     one frame with a second's rates",
    "swiotlb-top -n 1 -d 0 --json         the state now, as JSON",
    "swiotlb-top --trace boot.swtrace     watch a recording",
    "swiotlb-top --trace boot.swtrace --json --every 10ms      a frame each 10 ms of it, to its end",
    "swiotlb-top --demo                   watch the recording that comes with swiotlb-top",
    "swiotlb-top check                    is swiotlb the trouble?",
    "swiotlb-top record -o boot.swtrace --duration 10",
    "swiotlb-top replay boot.swtrace      did the kernel do what it should?",
    "swiotlb-top size boot.swtrace        how large must swiotlb be?",
)


class _Group(click.Group):
    """Knows a recording that was given in place of a command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and (args[0].endswith(".swtrace") or os.path.isfile(args[0])):
            raise click.UsageError(f"{args[0]} is no command: --trace shows a recording, and replay judges it", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group,
    invoke_without_command=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "-n",
    "count",
    type=click.IntRange(min=1),
    metavar="COUNT",
    help="Frames to print, one below the other. Default: until q.",
)
@click.option(
    "-d",
    "--every",
    "interval_s",
    type=Seconds(0.0),
    default=1.0,
    metavar="SECONDS",
    help="Time between frames, in seconds; 0 with -n: do not wait, no rates. Default: 1.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line instead of a screen; null is: not known.")
@source_option("the first that this machine allows")
@trace_option("Show a recording instead of this machine.")
@click.option("--demo", is_flag=True, help="Show the recording that comes with swiotlb-top. It is not of this machine.")
@click.option(
    "--speed",
    type=Factor(0.01, 64),
    default=1.0,
    metavar="FACTOR",
    help="How much faster than it was recorded a recording plays. Default: 1.",
)
@click.option(
    "--start",
    "start_s",
    type=Seconds(0.0),
    default=0.0,
    metavar="SECONDS",
    help="Where in the recording to begin, in seconds. Default: 0.",
)
@click.option("--loop", "loops", is_flag=True, help="Play the recording over and over. Default: stop at its end.")
@click.option(
    "--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters. Default: what output and locale have."
)
@click.option(
    "--mouse",
    is_flag=True,
    help="A click selects a row, another opens it, and the wheel scrolls. To select text, hold Shift down as well.",
)
@click.version_option(__version__, prog_name="swiotlb-top")
@click.pass_context
def swiotlb_top(
    context: click.Context,
    count: int | None,
    interval_s: float,
    as_json: bool,
    source: str,
    program: Path | None,
    trace: Path | None,
    demo: bool,
    speed: float,
    start_s: float,
    loops: bool,
    ascii_only: bool,
    mouse: bool,
) -> Exit:
    """See what the kernel's bounce-buffer allocator (swiotlb) is doing, and why a mapping failed.

    Without a command: a live screen of this machine. Not on a terminal: plain frames, one after another.
    Where this machine cannot be watched, the reason is said and nothing is shown.

    Exit status with -n: 0 the last headline is "well" or "slow", 1 it tells of trouble, 5 something that could be bad
    is not known. Always: 2 usage, 3 this machine cannot be watched, 4 unreadable input, 70 a fault of swiotlb-top
    itself, 74 standard output cannot be written.
    """
    named = given(context)
    if context.invoked_subcommand is not None:
        if named:
            raise click.UsageError(f"options of the screen do not go with the command {context.invoked_subcommand!r}")
        return Exit.OK
    if trace is None and not demo and not {"speed", "start_s", "loops"}.isdisjoint(named):
        raise click.UsageError("--speed, --start and --loop go with a recording: --trace FILE, or --demo")
    if interval_s == 0 and count is None:
        raise click.UsageError("-d 0 needs -n COUNT")
    if trace is not None:
        opener = top.recording(trace, speed, start_s, loops=loops)
    else:
        opener = top.demonstration(speed, start_s, loops=loops) if demo else top.source_named(source, program)
    return top.show(opener, count=count, interval_s=interval_s, as_json=as_json, ascii_only=ascii_only, mouse=mouse)


for command in (
    check,
    record,
    snapshot,
    info,
    replay,
    diff,
    size,
    convert,
    cut,
    anonymise,
    export,
    of_programs,
    doctor,
    revisions,
    why,
    man,
):
    swiotlb_top.add_command(command)
