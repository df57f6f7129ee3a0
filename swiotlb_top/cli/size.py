"""``swiotlb-top size``."""

from __future__ import annotations

import locale
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from swiotlb_top.cli import watched
from swiotlb_top.cli.options import FileName, Seconds, examples, json_option, program_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

if TYPE_CHECKING:
    from swiotlb_top.sizing.chart import Ink
    from swiotlb_top.sizing.report import SizeReport

EPILOG = examples(
    "swiotlb-top size disk.swtrace",
    "swiotlb-top size disk.swtrace --headroom 50% --chart",
    "swiotlb-top size disk.swtrace --static --areas 8    as another kernel would have it",
    "swiotlb-top size --live --duration 5m    this machine, by what it does in the next five minutes",
    "swiotlb-top size disk.swtrace --svg sizes.svg",
    "swiotlb-top size s3://there/disk.swtrace --dask tcp://scheduler:8786    by a cluster",
    "swiotlb-top size *.swtrace --json | jq .recommended_nslabs",
)

AREAS_MAX: Final = 8192
HEADROOM_MAX: Final = 1000
_ADDRESS: Final = re.compile(r"[a-z]+://[\w.:\[\]-]+:[0-9]{1,5}", re.ASCII)
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


class Scheduler(click.ParamType):  # type: ignore[type-arg]
    """The address of a scheduler, as it says itself when it begins."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _ADDRESS.fullmatch(value):
            self.fail(f"{value!r} is no address of a scheduler: give it as in tcp://host:8786", param, ctx)
        return str(value)


class FileOrUrl(FileName):
    """The name of a file, or a URL; whoever opens it says what is wrong with it."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        super().convert(value, param, ctx)
        return str(value)


@click.command(epilog=EPILOG)
@click.argument("files", type=FileOrUrl(), nargs=-1, metavar="[FILE...]")
@json_option
@click.option(
    "--live",
    is_flag=True,
    help="Record this machine for a while, and size it by that. Nothing is kept of the recording.",
)
@click.option(
    "--duration",
    "duration_s",
    type=Seconds(0.001),
    metavar="TIME",
    help="With --live: how long to record, as in 30 (seconds) or 5m. Default: until Ctrl-C.",
)
@program_option()
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
@click.option(
    "--dask",
    "scheduler",
    type=Scheduler(),
    metavar="ADDRESS",
    help="Have the workers of a Dask cluster size the recordings, one each; ADDRESS is its scheduler's, as in "
    "tcp://host:8786. Default: here, on all CPUs.",
)
@click.option("--chart", is_flag=True, help="Draw failures and peak against the size.")
@click.option(
    "--svg",
    type=FileName(),
    metavar="FILE",
    help="Draw the same into a file, as SVG. It must not exist; -: standard output, in place of the page.",
)
def size(
    files: tuple[str, ...],
    as_json: bool,
    live: bool,
    duration_s: float | None,
    program: Path | None,
    headroom_percent: int,
    nareas: int | None,
    dynamic: bool | None,
    revision: str | None,
    scheduler: str | None,
    chart: bool,
    svg: Path | None,
) -> Exit:
    """Say how large swiotlb must be for what was recorded, from 1 MiB to 4 GiB.

    Of several recordings, the worst counts in every line. FILE may be a URL, where fsspec is installed.

    With --live this machine is recorded first, with the probes of record; Ctrl-C ends that, and the answer is about
    what was recorded until then.

    Exit status: 0 the recommended size cannot fail for what was recorded, 5 it is a least or was simulated only,
    1 no size serves it, 3 with --live: this machine cannot be watched, or mapped nothing meanwhile.
    """
    _refuse(files, live=live, duration_s=duration_s, program=program, scheduler=scheduler)
    _refuse_outputs(svg, as_json=as_json, chart=chart)
    from swiotlb_top.convert.output import STANDARD_OUTPUT
    from swiotlb_top.sizing.cluster import over_dask
    from swiotlb_top.sizing.cores import over_cores
    from swiotlb_top.sizing.report import answer, report_of
    from swiotlb_top.sizing.sized import Question
    from swiotlb_top.tui.terminal import ending_on_sigterm

    question = Question(nareas, dynamic, headroom_percent)
    with ending_on_sigterm():  # no temporary file is left behind
        if live:
            report = report_of(watched.demand(duration_s, revision, program), question)
        else:
            with over_dask(scheduler) if scheduler is not None else over_cores(len(files)) as over:
                report = answer(files, question, revision, over)
    if svg is not None:
        _draw(report, svg)
    if svg != STANDARD_OUTPUT:
        show_report(lambda: report.as_text(ink=_ink() if chart else None), report.as_json, as_json=as_json)
    for damage in report.damage:
        click.echo(f"swiotlb-top: {damage}", err=True)
    return report.exit_code


def _refuse(
    files: tuple[str, ...], *, live: bool, duration_s: float | None, program: Path | None, scheduler: str | None
) -> None:
    """:raises click.UsageError: it is not clear what is to be sized."""
    if live and files:
        raise click.UsageError("--live and FILE exclude each other: this machine is sized, or recordings are")
    if not live and not files:
        raise click.UsageError("Missing argument 'FILE...': name recordings, or give --live to size this machine")
    if live and scheduler is not None:
        raise click.UsageError("--dask goes with recordings: what this machine does is sized here")
    if duration_s is not None and not live:
        raise click.UsageError("--duration goes with --live: what was recorded is as long as it is")
    if program is not None and not live:
        raise click.UsageError("--program goes with --live: it is for probes")


def _refuse_outputs(svg: Path | None, *, as_json: bool, chart: bool) -> None:
    """Before anything is read or recorded.

    :raises click.UsageError: outputs exclude each other.
    :raises CannotError: the picture's file exists.
    """
    from swiotlb_top.convert.output import STANDARD_OUTPUT

    if chart and as_json:
        raise click.UsageError("--chart and --json exclude each other: what the chart shows is in the objects")
    if svg == STANDARD_OUTPUT and (as_json or chart):
        raise click.UsageError("--svg - is all of the output: --json and --chart do not go with it")
    if svg is not None and svg != STANDARD_OUTPUT:
        from swiotlb_top.trace.files import refuse_to_overwrite

        refuse_to_overwrite(svg)


def _draw(report: SizeReport, svg: Path) -> None:
    from swiotlb_top.convert.output import STANDARD_OUTPUT, into_file, to_standard_output

    picture = [report.as_svg().encode()]
    if svg == STANDARD_OUTPUT:
        to_standard_output(picture)
    else:
        into_file(picture, svg)


def _ink() -> Ink:
    """What charts are drawn with on this terminal."""
    from swiotlb_top.sizing.chart import Ink
    from swiotlb_top.tui import glyphs

    drawn = glyphs.for_encodings(sys.stdout.encoding, locale.getencoding())
    return Ink(drawn.full, drawn.empty, drawn.pointer)
