"""A page of text on standard output: folded and coloured on a terminal; line by line, as it is, for ``grep``."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import click

from swiotlb_top.json_schema import versioned

_LAST_COLUMN: Final = re.compile(r".*\S {2,}(?=\S)")
_FURTHER_IN: Final = 4
_COLOURS: Final = {
    "ok": "green",
    "degraded": "yellow",
    "MISSING": "red",
    "AGREE": "green",
    "INCONCLUSIVE": "yellow",
    "DISAGREE": "red",
}
_MARKED: Final = re.compile(rf"^(?:verdict: )?({'|'.join(_COLOURS)})\b")
"""A line that begins with one of these words, or a verdict that is one of them."""


def show(text: str) -> None:
    """Print a page. NO_COLOR and a dumb terminal leave it without colours."""
    if sys.stdout.isatty():
        text = "\n".join(folded(line, shutil.get_terminal_size().columns) for line in text.splitlines())
        if not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb":
            text = "\n".join(map(coloured, text.split("\n")))
    click.echo(text)


def show_report(text: Callable[[], str], found: Callable[[], Mapping[str, object]], *, as_json: bool) -> None:
    """Print a report: as a page of ``text``, or with ``--json`` as the object ``found`` in one line.

    The object is printed with the version of its keys. Only the form that is printed is made.
    """
    if as_json:
        click.echo(json.dumps(versioned(found())))
    else:
        show(text())


def show_written(path: Path) -> None:
    """Say how large a file is that was written."""
    name = str(path).encode(errors="backslashreplace").decode()
    click.echo(f"{name}: {path.stat().st_size:,} bytes")


def folded(line: str, width: int) -> str:
    """A line broken between words to ``width`` characters, without breaking a word.

    Its rest is indented to the line's last column, or a little further than the line if it has no columns.
    """
    column = _LAST_COLUMN.match(line)
    under = column.end() if column and column.end() <= width * 2 // 3 else 0
    indent = " " * (under or len(line) - len(line.lstrip()) + _FURTHER_IN)
    return textwrap.fill(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def coloured(line: str) -> str:
    """A line, with the word in colour that says how it stands."""
    return _MARKED.sub(lambda found: found[0].replace(found[1], click.style(found[1], fg=_COLOURS[found[1]])), line)
