"""``swiotlb-top record``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import FileName, Seconds, examples
from swiotlb_top.cli.page import show
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top record -o disk.swtrace --duration 10",
    "swiotlb-top record -o disk.swtrace -- dd if=/dev/vda of=/dev/null bs=1M iflag=direct count=100",
    "swiotlb-top replay disk.swtrace",
)


@click.command(epilog=EPILOG)
@click.option("-o", "--output", type=FileName(), required=True, metavar="FILE", help="File to write. No default.")
@click.option(
    "--duration",
    "duration_s",
    type=Seconds(0.001),
    metavar="SECONDS",
    help="Time to record, in seconds. Default: until the command ends, or until Ctrl-C.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def record(output: Path, duration_s: float | None, command: tuple[str, ...]) -> Exit:
    """Record what swiotlb does: its state now, then every event."""
    from swiotlb_top.recorder import record as run

    report = run(output, duration_s, command)
    show(report.as_text())
    return report.exit_code
