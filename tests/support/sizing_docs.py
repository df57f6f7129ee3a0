"""Pages of docs/ show what commands print, and a table of boots: ``python -m tests.support.sizing_docs`` makes them.

The boots were recorded in the lab: the first workload of ``python -m tests.lab.prove_size DIRECTORY``.
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final
from unittest import mock

from swiotlb_top.cli import main
from swiotlb_top.sizing.report import answer
from swiotlb_top.sizing.sized import Question
from swiotlb_top.state import MemState
from swiotlb_top.trace import TraceReader

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "sizing.md"
PAGES: Final = (PAGE, DOCS / "why.md")
TRACES: Final = Path(__file__).parents[1] / "traces"
BOOTS: Final = tuple(TRACES / f"stall{booted}.swtrace" for booted in ("", "-512", "-1024", "-4096"))
"""One disk, on each boot with what was answered of the one before."""
_TABLE: Final = re.compile(r"^\| booted with .*?(?=^$)", re.MULTILINE | re.DOTALL)
_HEAD: Final = """\
| booted with | failed maps | most in use, says the kernel | `size` answers | most in use there, predicted |
|---|--:|--:|---|--:|
"""
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
    """The page with what its commands print, and its table of boots."""
    page = _SHOWN.sub(
        lambda shown: f"```console\n$ swiotlb-top {shown['command']}\n{printed(shown['command'])}```", page
    )
    return _TABLE.sub(lambda _: _HEAD + "".join(map(_line, BOOTS)), page)


def _line(path: Path) -> str:
    """Of the table: what became of a boot, and what is answered of it."""
    fleet = answer([path], Question(), None).fleet
    recommended, (member,) = fleet.recommended, fleet.members
    assert recommended
    least = "at least" if fleet.at_least else "certain:" if fleet.certain else "simulated:"
    cells = (
        f"`{member.today.configuration.command_line}`",
        str(member.demand.failures),
        str(used_hiwater(path)),
        f"{least} `{recommended.command_line}`",
        str(recommended.high_water_slots),
    )
    return f"| {' | '.join(cells)} |\n"


def used_hiwater(path: Path) -> int:
    """What the kernel's ``io_tlb_used_hiwater`` was at the end of a recording."""
    return [item for item in TraceReader(path) if isinstance(item, MemState)][-1].used_hiwater


def commands(page: str) -> list[str]:
    """Those that it shows."""
    return [shown["command"] for shown in _SHOWN.finditer(page)]


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(anew(one.read_text()))
