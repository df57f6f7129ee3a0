"""``swiotlb-top cut``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from swiotlb_top.cli.options import FileName, Moment, examples, recording_option
from swiotlb_top.cli.page import show_written
from swiotlb_top.errors import Exit

if TYPE_CHECKING:
    from swiotlb_top.recording import clock

EPILOG = examples(
    "swiotlb-top cut disk.swtrace -o part.swtrace --from 10 --to 12.5",
    "swiotlb-top cut disk.swtrace -o part.swtrace --to 2026-11-29T03:02:01Z",
    "swiotlb-top cut disk.swtrace.partial -o part.swtrace --to 60s      what a recorder left that was killed",
)


@click.command(epilog=EPILOG)
@click.argument("file", type=FileName())
@recording_option()
@click.option(
    "--from",
    "begin",
    type=Moment(),
    metavar="MOMENT",
    help="Where the part begins, in seconds from the recording's beginning, or as 2026-11-29T03:02:01Z. Default: its "
    "beginning.",
)
@click.option("--to", "end", type=Moment(), metavar="MOMENT", help="Where it ends, given likewise. Default: its end.")
def cut(file: Path, output: Path, begin: clock.Moment | None, end: clock.Moment | None) -> Exit:
    """Write a part of a recording as one of its own, which is judged as the whole is.

    Nothing can be judged before a state: the part begins with the last one that was recorded before --from, often the
    recording's first. It ends up to a second before --to, where no call is under way. The command says which part
    that is.
    """
    from swiotlb_top.recording.cut import cut as write

    part = write(file, output, begin, end)
    show_written(output)
    click.echo(part.in_words())
    return Exit.OK
