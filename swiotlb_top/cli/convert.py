"""``swiotlb-top convert``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import FileName, examples
from swiotlb_top.cli.page import show_written
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top convert disk.swtrace -o disk.csv                     one line for each mapping",
    "swiotlb-top convert disk.swtrace -o why.jsonl --table failures",
    "swiotlb-top convert disk.swtrace -o disk.pftrace                 open it in Perfetto's user interface",
    "swiotlb-top convert disk.swtrace -o - --format jsonl | jq -r .device | sort | uniq -c",
)

_TABLES = ("mappings", "failures", "pools", "devices", "slots")
_FORMATS = ("csv", "jsonl", "parquet", "perfetto")


@click.command(epilog=EPILOG)
@click.argument("file", type=FileName())
@click.option(
    "-o",
    "--output",
    type=FileName(),
    required=True,
    metavar="OUT",
    help="File to write, which must not exist, or - for standard output. No default.",
)
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Format to write. Default: by the ending of OUT.")
@click.option("--table", type=click.Choice(_TABLES), help="Table to write. Perfetto has no tables. Default: mappings.")
@click.option(
    "--revision",
    metavar="NAME",
    help="The swiotlb revision to judge by, or a release that has it, as 6.12. Default: that of the recorded kernel.",
)
@click.option("--unjudged", is_flag=True, help="Leave out causes, verdicts and overlaps. It takes half the time.")
def convert(
    file: Path, output: Path, form: str | None, table: str | None, revision: str | None, unjudged: bool
) -> Exit:
    """Write a recording as CSV, JSON lines, Parquet (with DuckDB), or a Perfetto timeline.

    Of a damaged recording, everything before the damage is written, and the status is 4. The same recording always
    gives the same bytes.
    """
    from swiotlb_top.convert import formats
    from swiotlb_top.convert.output import STANDARD_OUTPUT
    from swiotlb_top.recording.opened import Recording

    named = form or formats.format_of(output)
    damage = formats.convert(Recording(file, revision), output, named, table, judged=not unjudged)
    if output != STANDARD_OUTPUT:
        show_written(output)
    if damage:
        click.echo(f"swiotlb-top: {damage}", err=True)
        return Exit.UNREADABLE
    return Exit.OK
