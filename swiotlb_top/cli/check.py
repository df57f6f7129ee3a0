"""``swiotlb-top check``."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swiotlb_top.cli import top
from swiotlb_top.cli.options import Seconds, examples, given, json_option, source_option, trace_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit, SwiotlbTopError

if TYPE_CHECKING:
    from swiotlb_top.reports.check import CheckReport

EPILOG = examples(
    "swiotlb-top check                       ten seconds of this machine",
    "swiotlb-top check --seconds 10m         long enough to see a leak",
    "swiotlb-top check --trace disk.swtrace  a recording, from its beginning to its end",
    "swiotlb-top check --json | jq -r .sentence",
)

_EVERY_S = 1.0
"""Time between two looks. A device that takes most of the slots within it is found."""


@click.command(epilog=EPILOG)
@click.option(
    "--seconds",
    "duration_s",
    type=Seconds(_EVERY_S),
    default=10.0,
    metavar="SECONDS",
    help="How long to watch this machine; Ctrl-C ends it sooner. A leak shows from 30s on. Default: 10.",
)
@source_option("the first that this machine allows")
@trace_option("Check a recording instead of this machine.")
@json_option
@click.pass_context
def check(
    context: click.Context, duration_s: float, source: str, program: Path | None, trace: Path | None, as_json: bool
) -> Exit:
    """Is swiotlb the trouble? Watch for a while, and answer in one sentence that can be quoted.

    Each finding says what is wrong, the numbers that show it, and what helps. Maps that failed before, as the
    kernel's log has it, count.

    Exit status: 0 nothing is wrong, 1 something is, 3 nobody can tell, or this machine cannot be watched, 4 the
    recording cannot be read.
    """
    from swiotlb_top.findings.watched import Watched
    from swiotlb_top.kernel.no_pool import NoPoolError
    from swiotlb_top.kernel_log.watch import read_once
    from swiotlb_top.reports.check import CheckReport
    from swiotlb_top.sources.sampler import frames

    named = given(context)
    if trace is not None and "duration_s" in named:
        raise click.UsageError("--seconds goes with this machine: a recording is checked to its end")
    opener = top.recording(trace, 1.0, 0.0, loops=False) if trace is not None else top.source_named(source, program)
    count = None if trace is not None else round(duration_s / _EVERY_S)
    watched, failure = Watched(), None
    try:
        with closing(opener()) as opened, suppress(KeyboardInterrupt):
            for frame in frames(opened, _EVERY_S, count):
                watched.add(frame)
        if watched.frame is None:  # Ctrl-C before the first second was over
            raise KeyboardInterrupt
    except NoPoolError as none:
        return _answered(CheckReport.without_pool(none, read_once()), as_json=as_json)
    except SwiotlbTopError as error:
        if watched.frame is None:
            raise
        failure = error  # what was watched until then is reported all the same
        if trace is None:
            watched.add(replace(watched.frame, failure=str(error)))
    answer = _answered(CheckReport.of(watched), as_json=as_json)
    if failure is not None:
        raise failure
    return answer


def _answered(report: CheckReport, *, as_json: bool) -> Exit:
    show_report(report.as_text, report.as_json, as_json=as_json)
    return report.exit_code
