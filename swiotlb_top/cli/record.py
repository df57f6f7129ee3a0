"""``swiotlb-top record``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from swiotlb_top.cli import progress
from swiotlb_top.cli.options import FileName, Seconds, examples
from swiotlb_top.cli.page import show

EPILOG = examples(
    "swiotlb-top record -o disk.swtrace --duration 10",
    "swiotlb-top record -o disk.swtrace -- dd if=/dev/vda of=/dev/null bs=1M iflag=direct count=100",
    "swiotlb-top record -o - --duration 10 | ssh there 'cat >disk.swtrace'",
    "swiotlb-top replay disk.swtrace",
)


@click.command(epilog=EPILOG)
@click.option(
    "-o",
    "--output",
    type=FileName(),
    required=True,
    metavar="FILE",
    help="File to write, which must not be there; -: standard output. No default.",
)
@click.option(
    "--duration",
    "duration_s",
    type=Seconds(0.001),
    metavar="SECONDS",
    help="Time to record, in seconds. Default: until the command ends, or until Ctrl-C.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def record(output: Path, duration_s: float | None, command: tuple[str, ...]) -> int:
    """Record what swiotlb does: its state now, then every event.

    Exit status: that of COMMAND, or 128+N where signal N ended it; without COMMAND 0. Where recording fails, it is
    the status of that (2, 3, 70, 74), and a line on standard error begins with "swiotlb-top:". A COMMAND that still
    runs when the time is over gets SIGTERM, and SIGKILL two seconds later; after Ctrl-C it has two seconds before that
    to end by itself.

    On a terminal, a line says how far it is, unless a COMMAND may write there too.

    With -o - messages, and what COMMAND writes on its standard output, go to standard error.
    """
    from swiotlb_top.convert.output import STANDARD_OUTPUT
    from swiotlb_top.recorder import record as run

    to_standard_output = output == STANDARD_OUTPUT
    if to_standard_output and sys.stdout.isatty():
        raise click.UsageError("a recording is not for a terminal: write -o - >FILE or -o - | COMMAND, or name a file")
    target = sys.stdout.buffer if to_standard_output else output
    with progress.shown(terminal_is_shared=bool(command)) as watch:
        report = run(target, duration_s, command, watch=watch)
    if to_standard_output:
        click.echo(report.as_text(), err=True)
    else:
        show(report.as_text())
    return report.exit_code
