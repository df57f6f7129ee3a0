"""Pages of docs/ show what commands print: ``python -m tests.support.sizing_docs`` runs them and writes these anew."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final
from unittest import mock

from swiotlb_top.cli import main

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "sizing.md"
PAGES: Final = (PAGE, DOCS / "why.md")
_SHOWN: Final = re.compile(
    r"^```console\n\$ swiotlb-top (?P<command>.*?)\n(?P<output>.*?)^```$", re.MULTILINE | re.DOTALL
)


class _Terminal(io.StringIO):
    """What is printed where there are more characters than ASCII has."""

    encoding = "utf-8"


def printed(command: str) -> str:
    """What a command prints on standard output; recordings are named from the root of the tree."""
    said = _Terminal()
    with redirect_stdout(said), mock.patch("locale.getencoding", return_value="utf-8"):
        main(command.split())
    return said.getvalue()


def anew(page: str) -> str:
    """The page with what its commands print."""
    return _SHOWN.sub(
        lambda shown: f"```console\n$ swiotlb-top {shown['command']}\n{printed(shown['command'])}```", page
    )


def commands(page: str) -> list[str]:
    """Those that it shows."""
    return [shown["command"] for shown in _SHOWN.finditer(page)]


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(anew(one.read_text()))
