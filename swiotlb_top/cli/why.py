"""``swiotlb-top why``."""

from __future__ import annotations

import click

from swiotlb_top.cli.options import examples, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top why                            this machine's log",
    "dmesg | swiotlb-top why -",
    "journalctl -k -b -1 | swiotlb-top why -    the boot before",
    "swiotlb-top why console.log",
    "swiotlb-top why 'swiotlb buffer is full (sz: 327680 bytes), total 32768 (slots), used 0 (slots)'",
)


@click.command(epilog=EPILOG)
@click.argument("what", required=False, metavar="[LINE|FILE|-]")
@json_option
def why(what: str | None, as_json: bool) -> Exit:
    """Explain what a kernel's log says of swiotlb: a line of it, a file, standard input (-), or this machine's.

    Of each device and cause: what it means, what helps, what does not, and what the lines leave open. The log may be
    any machine's, and nobody's privileges are needed but to read this machine's own.

    Exit status: 0 the lines tell only how swiotlb was set up, 1 they tell of trouble, 3 this machine's log cannot be
    read, 4 the file cannot, 5 no line tells of swiotlb, or none that is known, and nothing follows from that.
    """
    from swiotlb_top.kernel_log.asked import report_on

    report = report_on(what)
    show_report(report.as_text, report.as_json, as_json=as_json)
    return report.exit_code
