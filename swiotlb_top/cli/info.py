"""``swiotlb-top info``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import FileName, examples, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top info disk.swtrace",
    "swiotlb-top info disk.swtrace --json | jq .reveals      what do I give away with it?",
)


@click.command(epilog=EPILOG)
@click.argument("file", type=FileName())
@json_option
def info(file: Path, as_json: bool) -> Exit:
    """Say what a recording is: of which kernel, machine and time, what it holds, and what it reveals to others.

    Nothing is judged: replay does that.
    """
    from swiotlb_top.recording.info import inspect

    found = inspect(file)
    show_report(found.as_text, found.as_json, as_json=as_json)
    if found.damage:
        click.echo(f"swiotlb-top: {found.damage}", err=True)
    return found.exit_code
