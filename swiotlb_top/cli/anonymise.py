"""``swiotlb-top anonymise``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import FileName, examples, recording_option
from swiotlb_top.cli.page import show_written
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top anonymise disk.swtrace -o for-a-bug-report.swtrace",
    "swiotlb-top info for-a-bug-report.swtrace      what does it still reveal?",
)


@click.command(epilog=EPILOG)
@click.argument("file", type=FileName())
@recording_option()
def anonymise(file: Path, output: Path) -> Exit:
    """Copy a recording without addresses, host name, boot id and names of devices.

    The copy gets the same verdict, since it keeps what decides which slots are found: low bits of addresses, the order
    of pools, sizes, times. It also keeps the kernel's release, the drivers, and when it was recorded.
    """
    from swiotlb_top.recording.anonymous import anonymise as write

    write(file, output)
    show_written(output)
    return Exit.OK
