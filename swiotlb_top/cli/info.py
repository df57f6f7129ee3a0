"""``swiotlb-top info``."""

from __future__ import annotations

from pathlib import Path

import click

from swiotlb_top.cli.options import FileName, examples, json_option
from swiotlb_top.cli.page import show_report
from swiotlb_top.errors import Exit

EPILOG = examples(
    "swiotlb-top info disk.swtrace",
    "swiotlb-top info disk.swtrace --json | jq .reveals      what would others learn from it?",
)


@click.command(epilog=EPILOG)
@click.argument("file", type=FileName())
@json_option
def info(file: Path, as_json: bool) -> Exit:
    """Describe a recording: its kernel, machine and time, what it holds, and what it reveals to others.

    It does not judge the recording; replay does.
    """
    from swiotlb_top.recording.info import inspect

    found = inspect(file)
    show_report(found.as_text, found.as_json, as_json=as_json)
    if found.damage:
        click.echo(f"swiotlb-top: {found.damage}", err=True)
    return found.exit_code
