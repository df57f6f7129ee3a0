"""``swiotlb-top doctor``."""

from __future__ import annotations

import click

from swiotlb_top.cli.options import examples, json_option
from swiotlb_top.cli.page import show, show_json
from swiotlb_top.errors import Exit

EPILOG = examples("swiotlb-top doctor", "swiotlb-top doctor --json")


@click.command(epilog=EPILOG)
@json_option
def doctor(as_json: bool) -> Exit:
    """Say what can be seen on this kernel, how, and what is missing.

    Exit status: 0 everything needed is there, 3 it is not.
    """
    from swiotlb_top.reports.doctor import examine

    report = examine()
    if as_json:
        show_json(report.as_json())
    else:
        show(report.as_text())
    return report.exit_code
