"""``swiotlb-top cut``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from swiotlb_top.cli.options import FileName, Moment, PoolAddress, examples, recording_option
from swiotlb_top.cli.page import show_written
from swiotlb_top.errors import Exit

if TYPE_CHECKING:
    from swiotlb_top.recording import clock

EPILOG = examples(
    "swiotlb-top cut disk.swtrace -o part.swtrace --from 10 --to 12.5",
    "swiotlb-top cut disk.swtrace -o part.swtrace --to 2026-11-29T03:02:01Z",
    "swiotlb-top cut disk.swtrace -o vda.swtrace --device vda      what one device did; it cannot be judged",
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
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    help="Only the calls of this device, as 0000:00:04.0 or vda; several may be given. Default: of all.",
)
@click.option(
    "--pool",
    "pools",
    type=PoolAddress(),
    multiple=True,
    metavar="ADDRESS",
    help="Only the calls in this pool, by the address of its first slot, as 0x3e780000; several may be given. "
    "Default: in all.",
)
def cut(
    file: Path,
    output: Path,
    begin: clock.Moment | None,
    end: clock.Moment | None,
    devices: tuple[str, ...],
    pools: tuple[int, ...],
) -> Exit:
    """Write a part of a recording as one of its own, which is judged as the whole is.

    Nothing can be judged before a state: the part begins with the last one that was recorded before --from, often the
    recording's first. It ends up to a second before --to, where no call is under way. The command says which part
    that is.

    With --device or --pool it has the calls of these only, for tables and timelines. Where they were placed depended on
    the calls of all others, so that nobody can judge it: replay says that it is inconclusive.
    """
    from swiotlb_top.recording.cut import cut as write
    from swiotlb_top.recording.partial import Chosen

    part = write(file, output, begin, end, Chosen(frozenset(devices), frozenset(pools)))
    show_written(output)
    click.echo(part.in_words())
    return Exit.OK
