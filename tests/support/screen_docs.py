"""What docs/ has of the screen: a picture from a recording of a real kernel, and every key and number.

``python -m tests.support.screen_docs`` writes both anew.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI, TerminalTheme

from swiotlb_top.accounting import fields
from swiotlb_top.accounting.fields import Field
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import MEANINGS, Headline
from swiotlb_top.accounting.words import SECTIONS
from swiotlb_top.findings.noticing import Noticing
from swiotlb_top.sources.replay import ReplaySource
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS, press
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.view import PLAIN
from tests.support.doctoring import STALL

DOCS: Final = Path(__file__).parents[2] / "docs"
THEMES: Final = {"dark": DIMMED_MONOKAI, "light": DEFAULT_TERMINAL_THEME}
SHOWN_NS: Final = 4_000_000_000
_TABLES: Final[tuple[tuple[str, Sequence[Field[Any]]], ...]] = (
    ("Above the tables", fields.TOTALS),
    ("Devices", fields.DEVICES),
    ("Pools", fields.POOLS),
    ("Failures", fields.FAILURES),
)
_HEAD: Final = """\
# The screen, number by number

![The screen while a disk stalls](screen.svg)

The first line under the title is the worst of everything that is known, in one of the words below. The lines under it
give the reason, in the reference's words, what is *found* in all frames so far (who fails, and who holds the slots)
with *advice*, and *unknown*: what is not known and could be worse. The key `f` shows all that is found, as `swiotlb-top
check` prints it, and `S`, where a recording is shown, how large swiotlb must be for it ([sizing.md](sizing.md)).
*slots* is a gauge of the slots in use in each pool, *peak* a gauge of the most that ever were in use. *trend* has the
latest readings, one in each cell. *SLOTS* is a map of the selected pool, or else of the fullest: at the finest, each cell
is a slot, with a letter and a colour for the device that has it, so that one sees in which pieces the pool is free.
*LOG* lists growth, pools that were added and freed, lost events, disagreements, and
devices that began to fail. Each row of *FAILURES* stands for maps in a row that failed alike: of one device, of one
size, for one cause.

Calls are recorded in bursts, which are a sample: a device's failures are counted exactly, but the causes of some are
not known. The screen uses the terminal's own sixteen colours, and says nothing by colour alone. `NO_COLOR` turns
colours off, and `--ascii` uses only ASCII characters. If the output is not a terminal, and with `TERM=dumb` or `-n`,
frames are plain text: each of the first lines begins with its label, and each table with a line that names it. `--json`
prints frames as objects ([json.md](json.md)). [glossary.md](glossary.md) explains every term in two sentences.
"""


def frame_at(recording: Path, position_ns: int) -> Frame:
    """A recording's frame at a position, with what is found in it."""
    return Noticing()(Frame.of(ReplaySource(recording, start_ns=position_ns).snapshot()))


def picture(frame: Frame, width: int, height: int, theme: TerminalTheme, keys: Sequence[str] = ()) -> str:
    """The screen after some keys, as SVG."""
    view = PLAIN
    for key in keys:
        view = press(view, frame, key)
    console = Console(width=width, height=height, record=True, file=io.StringIO(), force_terminal=True)
    for line in render(frame, view, UNICODE, width, height):
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="swiotlb-top", theme=theme, unique_id="screen")
    # A picture asks nobody for a font: any of one width will do.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def page() -> str:
    """docs/screen.md, from the tables that the screen itself is made of."""
    lines = [_HEAD, "## How it stands", "", "The worst first. With `-n` and in a pipe the exit status follows it.", ""]
    lines += ["| | what it says | exit status |", "|---|---|---|"]
    lines += [
        f"| {level.value} | {meaning} | {Headline(level, '').exit_status} |" for level, meaning in MEANINGS.items()
    ]
    lines += ["", "## Keys", "", "| key | |", "|---|---|"]
    lines += [f"| `{key.shown}` | {key.help} |" for key in KEYS]
    lines += ["", "Where a recording is shown:", "", "| key | |", "|---|---|"]
    lines += [f"| `{key.shown}` | {key.help} |" for key in PLAY_KEYS]
    for title, words in SECTIONS[1:]:
        lines += ["", f"## {title}", "", "| | what it means |", "|---|---|"]
        lines += [f"| {word} | {meaning} |" for word, meaning in words.items()]
    for title, table in _TABLES:
        lines += ["", f"## {title}", "", "| | what it says | unit | from |", "|---|---|---|---|"]
        lines += [f"| {field.title} | {field.help} | {field.unit.value} | {field.origin.value} |" for field in table]
    return "\n".join(lines) + "\n"


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    (DOCS / "screen.svg").write_text(picture(frame_at(STALL, SHOWN_NS), 110, 30, THEMES["dark"]))
    (DOCS / "screen.md").write_text(page())


if __name__ == "__main__":
    main()
