"""``swiotlb-top why``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import examples, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top why                            this machine's log",
    "dmesg | swiotlb-top why -",
    "journalctl -k -b -1 | swiotlb-top why -    the boot before",
    "swiotlb-top why console.log",
    "swiotlb-top why disk.swtrace               a recording: why maps failed, and what would have avoided it",
    "swiotlb-top why 'swiotlb buffer is full (sz: 327680 bytes), total 32768 (slots), used 0 (slots)'",
)


@click.command(epilog=EPILOG)
@click.argument("what", required=False, metavar="[LINE|FILE|RECORDING|-]")
@json_option
def why(what: str | None, as_json: bool) -> Exit:
    """Explain what a kernel's log says of swiotlb (a line, a file, standard input, this machine's), or a recording.

    Of each device and cause: what it means, what helps, what does not, and what the lines leave open. The log may be
    any machine's, and nobody's privileges are needed but to read this machine's own.

    Of a recording: of each device and cause, how many maps failed, how it stood when the first did, and what would
    have avoided it, as far as the reference computes that: another size, other areas, growth, smaller requests.

    Exit status: 0 the lines tell only how swiotlb was set up, or no map failed; 1 they tell of trouble, or maps failed;
    3 this machine's log cannot be read; 4 the file cannot; 5 no line tells of swiotlb, or none that is known, and
    nothing follows from that, or events were lost that may have been failed maps.
    """
    from swiotlb_top.kernel_log.asked import report_on
    from swiotlb_top.trace import is_recording

    if what is not None and is_recording(what):
        from swiotlb_top.reports.why_recording import why_recording

        found = why_recording(Path(what))
        show_report(found.as_text, found.as_json, as_json=as_json)
        if found.found.damage:
            click.echo(f"swiotlb-top: {found.found.damage}", err=True)
        return found.exit_code
    report = report_on(what)
    show_report(report.as_text, report.as_json, as_json=as_json)
    return report.exit_code
