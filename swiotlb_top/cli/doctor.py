"""``swiotlb-top doctor``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import examples, json_option, program_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples("swiotlb-top doctor", "swiotlb-top doctor --json")


@click.command(epilog=EPILOG)
@program_option()
@json_option
def doctor(program: Path | None, as_json: bool) -> Exit:
    """Say what can be seen on this kernel, how, and what is missing.

    Exit status: 0 everything needed is there, 3 it is not.
    """
    from swiotlb_top.probes.compile.given import images
    from swiotlb_top.reports.doctor import examine

    report = examine(images(program))
    show_report(report.as_text, report.as_json, as_json=as_json)
    return report.exit_code
