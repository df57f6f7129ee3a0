"""``swiotlb-top revisions``."""

from __future__ import annotations

import click

from swiotlb_top.cli.options import examples, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top revisions",
    "swiotlb-top revisions --json | jq .kernel.revision      which one does this kernel have?",
)


@click.command(epilog=EPILOG)
@json_option
def revisions(as_json: bool) -> Exit:
    """List the revisions of swiotlb that are known, and say which one this kernel has, and why.

    Exit status: 0, also where it cannot be told which one this kernel has.
    """
    from swiotlb_top.reports.revisions import known

    found = known()
    show_report(found.as_text, found.as_json, as_json=as_json)
    return Exit.OK
