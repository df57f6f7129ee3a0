"""``swiotlb-top snapshot``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import FileName, examples
from swiotlb_top.cli.page import show
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top snapshot",
    'swiotlb-top replay "$(swiotlb-top snapshot)"',
)


@click.command(epilog=EPILOG)
@click.option(
    "-o",
    "directory",
    type=FileName(),
    metavar="DIR",
    help="The directory of the flight recorder. Default: /run/swiotlb-top.",
)
def snapshot(directory: Path | None) -> Exit:
    """Have the flight recorder write what it holds, and print the name of the file.

    The flight recorder is what record --flight and export --flight run.
    """
    from swiotlb_top.flight.shelf import DIRECTORY
    from swiotlb_top.flight.snapshot import snapshot as ask

    show(str(ask(directory or DIRECTORY)))
    return Exit.OK
