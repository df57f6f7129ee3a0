"""``swiotlb-top size``."""

from __future__ import annotations

import locale
import re
import sys
from pathlib import Path
from typing import Any, Final

import click

from swiotlb_top.cli.options import FileName, examples, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top size disk.swtrace",
    "swiotlb-top size disk.swtrace --headroom 50% --chart",
    "swiotlb-top size disk.swtrace --static --areas 8    as another kernel would have it",
    "swiotlb-top size *.swtrace --json | jq .recommended_nslabs",
)

AREAS_MAX: Final = 8192
HEADROOM_MAX: Final = 1000
_PERCENT: Final = re.compile(r"([0-9]{1,4})%?")


class Percent(click.ParamType):  # type: ignore[type-arg]
    """A whole number of percent, with or without its sign."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _PERCENT.fullmatch(value)
        if found is None or int(found[1]) > HEADROOM_MAX:
            self.fail(f"{value!r} is no share: give whole percent up to {HEADROOM_MAX}, as in 25%", param, ctx)
        return int(found[1])


@click.command(epilog=EPILOG)
@click.argument("files", type=FileName(), nargs=-1, required=True, metavar="FILE...")
@json_option
@click.option(
    "--headroom",
    "headroom_percent",
    type=Percent(),
    metavar="PERCENT",
    default=25,
    help="How much more than the peak there should be room for. Default: 25%.",
)
@click.option(
    "--areas",
    "nareas",
    type=click.IntRange(1, AREAS_MAX),
    metavar="N",
    help="Areas of the pool, which the kernel rounds up to a power of two. Default: as many as were recorded.",
)
@click.option(
    "--dynamic/--static", "dynamic", default=None, help="Whether pools may grow. Default: as it was recorded."
)
@click.option(
    "--revision",
    metavar="NAME",
    help="The swiotlb revision to size, or a release that has it, as 6.12. Default: that of the recorded kernel.",
)
@click.option("--chart", is_flag=True, help="Draw failures and peak against the size.")
def size(
    files: tuple[Path, ...],
    as_json: bool,
    headroom_percent: int,
    nareas: int | None,
    dynamic: bool | None,
    revision: str | None,
    chart: bool,
) -> Exit:
    """Say how large swiotlb must be for what was recorded, from 1 MiB to 4 GiB.

    Of several recordings, the worst counts in every line.

    Exit status: 0 the recommended size cannot fail for what was recorded, 5 it is a least or was simulated only,
    1 no size serves it.
    """
    if chart and as_json:
        raise click.UsageError("--chart and --json exclude each other: what the chart shows is in the objects")
    from swiotlb_top.sizing.chart import Ink
    from swiotlb_top.sizing.report import answer
    from swiotlb_top.sizing.sized import Question
    from swiotlb_top.tui import glyphs

    report = answer(files, Question(nareas, dynamic, headroom_percent), revision)
    drawn = glyphs.for_encodings(sys.stdout.encoding, locale.getencoding())
    ink = Ink(drawn.full, drawn.empty, drawn.pointer) if chart else None
    show_report(lambda: report.as_text(ink=ink), report.as_json, as_json=as_json)
    for damage in report.damage:
        click.echo(f"swiotlb-top: {damage}", err=True)
    return report.exit_code
