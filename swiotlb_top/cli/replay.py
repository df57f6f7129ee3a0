"""``swiotlb-top replay``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import FileName, examples, given, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top replay disk.swtrace",
    "swiotlb-top replay disk.swtrace --json | jq .disagree",
    "swiotlb-top replay disk.swtrace --explain            why did maps fail?",
    "swiotlb-top replay disk.swtrace --revision 6.6      what would 6.6 have done?",
    "swiotlb-top replay disk.swtrace --revision all      which revisions explain it?",
)

CONTEXT_MAX = 10_000
ALL = "all"
"""In place of a revision's name."""


@click.command(epilog=EPILOG)
@click.argument("file", type=FileName())
@json_option
@click.option(
    "--revision",
    metavar="NAME",
    help="The swiotlb revision to replay through, or a release that has it, as 6.12; all: which ones explain the "
    "recording, and what rules out the others. Default: the one the recording's kernel has.",
)
@click.option(
    "--context",
    metavar="N",
    type=click.IntRange(0, CONTEXT_MAX),
    default=3,
    show_default=True,
    help="Operations to tell of before the first disagreement of each kind, and as many after it.",
)
@click.option("--explain", is_flag=True, help="Say why maps failed: how often for each cause, and the first of each.")
@click.pass_context
def replay(
    command: click.Context, file: Path, as_json: bool, revision: str | None, context: int, explain: bool
) -> Exit:
    """Replay a recording through the reference allocator and judge it.

    Exit status: 0 the kernel and the reference agree, 1 they do not, 5 inconclusive. With --revision all: 0 some
    revision explains all of the recording, 1 none does, 5 it is not known: some are not ruled out.
    """
    if revision == ALL:
        if not {"context", "explain"}.isdisjoint(given(command)):
            raise click.UsageError(f"--context and --explain go with one revision, and not with --revision {ALL}")
        return _explained(file, as_json=as_json)
    from swiotlb_top.reports.replay import replay as run

    report = run(file, revision, context)
    show_report(lambda: report.as_text(explain=explain), report.as_json, as_json=as_json)
    return _ended(report.exit_code, report.damage)


def _explained(file: Path, *, as_json: bool) -> Exit:
    """Say which revisions explain a recording."""
    from swiotlb_top.reports.explained import explained

    report = explained(file)
    show_report(report.as_text, report.as_json, as_json=as_json)
    return _ended(report.exit_code, report.damage)


def _ended(status: Exit, damage: str) -> Exit:
    if damage:
        click.echo(f"swiotlb-top: {damage}", err=True)
    return status
