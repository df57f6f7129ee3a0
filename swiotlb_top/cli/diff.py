"""``swiotlb-top diff``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import FileName, examples, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top diff before.swtrace after.swtrace",
    "swiotlb-top diff before.swtrace after.swtrace --json | jq .metrics.map_p99_ns",
)


@click.command(epilog=EPILOG)
@click.argument("a", type=FileName())
@click.argument("b", type=FileName())
@json_option
def diff(a: Path, b: Path, as_json: bool) -> Exit:
    """Compare two recordings: latency, hold times, maps a second, failures and why, and what is only noise.

    Exit status: 0 nothing differs by more than noise, 1 something does, 4 a recording cannot be read to its end,
    5 no difference was found, but not everything could be compared.
    """
    from swiotlb_top.compare.report import diff as run

    report = run(a, b)
    show_report(report.as_text, report.as_json, as_json=as_json)
    for damage in report.damage:
        click.echo(f"swiotlb-top: {damage}", err=True)
    return report.exit_code
