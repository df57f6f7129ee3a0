"""``swiotlb-top record``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from swiotlb_top.cli import flight, progress
from swiotlb_top.cli.options import FileName, Seconds, Size, examples, given, program_option
from swiotlb_top.cli.page import show

EPILOG = examples(
    "swiotlb-top record -o disk.swtrace --duration 10",
    "swiotlb-top record -o disk.swtrace -- dd if=/dev/vda of=/dev/null bs=1M iflag=direct count=100",
    "swiotlb-top record -o - --duration 10 | ssh there 'cat >disk.swtrace'",
    "swiotlb-top record -o disk.swtrace --max-size 100M --keep 10      the last gigabyte, however long it takes",
    "swiotlb-top replay disk.swtrace",
    *flight.EXAMPLES,
)


@click.command(epilog=EPILOG)
@click.option(
    "-o",
    "--output",
    type=FileName(),
    metavar="FILE",
    help="File to write, which must not be there; -: standard output. No default. With --flight: the directory of its "
    "files. Default: /run/swiotlb-top.",
)
@click.option(
    "--duration",
    "duration_s",
    type=Seconds(0.001),
    metavar="SECONDS",
    help="Time to record, in seconds. Default: until the command ends, or until Ctrl-C.",
)
@click.option(
    "--max-size",
    "file_bytes",
    type=Size(),
    metavar="SIZE",
    help="Begin another file where one has this size, as in 100M or 2G: with -o disk.swtrace the files are "
    "disk.000001.swtrace and so on, each a recording by itself. Default: one file.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=2),
    metavar="COUNT",
    help="With --max-size: keep so many files, the one that is written included, and remove the oldest. Default: all. "
    "With --flight the same; default: 8.",
)
@program_option()
@flight.options
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.pass_context
def record(
    context: click.Context,
    /,
    output: Path | None,
    duration_s: float | None,
    file_bytes: int | None,
    keep: int | None,
    program: Path | None,
    command: tuple[str, ...],
    flight_s: float | None,
    **of_flight: Any,
) -> int:
    """Record what swiotlb does: its state now, then every event.

    Exit status: that of COMMAND, or 128+N where signal N ended it; without COMMAND 0. Where recording fails, it is
    the status of that (2, 3, 70, 74), and a line on standard error begins with "swiotlb-top:". A COMMAND that still
    runs when the time is over gets SIGTERM, and SIGKILL two seconds later; after Ctrl-C it has two seconds before that
    to end by itself.

    If FILE lies on a disk whose mappings bounce, a line on standard error says so: where it stalls, so does the
    recording.

    On a terminal, a line says how far it is, unless a COMMAND may write there too.

    With -o - messages, and what COMMAND writes on its standard output, go to standard error.

    With --flight it runs until it is told to stop, and what it writes are recordings like any other.
    """
    if flight_s is not None:
        if command or duration_s is not None or file_bytes is not None:
            raise click.UsageError("--flight takes no --duration, no --max-size and no COMMAND")
        if output is not None:
            advise(output)
        return flight.fly(flight.plan_of(output, flight_s, keep=keep, program=program, **of_flight))
    flight.refuse(given(context))
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output'")
    return _record(output, duration_s, file_bytes, keep, program, command)


def advise(output: Path, say: Callable[[str], object] | None = None) -> None:
    """Say so where a file to be written lies on a disk that bounces. Whatever fails here, recording goes on.

    :param say: is told; None: standard error is.
    """
    from swiotlb_top.cli import complain
    from swiotlb_top.reports.advice import advice

    with suppress(OSError, ValueError, RuntimeError):
        if line := advice(output):
            (say or complain)(line)


def _record(
    output: Path,
    duration_s: float | None,
    file_bytes: int | None,
    keep: int | None,
    program: Path | None,
    command: tuple[str, ...],
) -> int:
    from swiotlb_top.convert.output import STANDARD_OUTPUT
    from swiotlb_top.probes.compile.given import images
    from swiotlb_top.recorder import record as run
    from swiotlb_top.trace.files import Limit

    to_standard_output = output == STANDARD_OUTPUT
    if to_standard_output and sys.stdout.isatty():
        raise click.UsageError("a recording is not for a terminal: write -o - >FILE or -o - | COMMAND, or name a file")
    if keep is not None and file_bytes is None:
        raise click.UsageError("--keep goes with --max-size or --flight")
    if to_standard_output and file_bytes is not None:
        raise click.UsageError("--max-size needs a name for the files: give -o one")
    target = sys.stdout.buffer if to_standard_output else output
    advise(Path("/dev/stdout") if to_standard_output else output)
    with progress.shown(terminal_is_shared=bool(command)) as watch:
        limit = None if file_bytes is None else Limit(file_bytes, keep)
        report = run(target, duration_s, command, limit=limit, watch=watch, images=images(program))
    if to_standard_output:
        click.echo(report.as_text(), err=True)
    else:
        show(report.as_text())
    return report.exit_code
