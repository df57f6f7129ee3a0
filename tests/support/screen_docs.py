"""What docs/ has of the screen: pictures from recordings of real kernels, and every key and number.

``python -m tests.support.screen_docs`` writes them anew.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI, TerminalTheme
from rich.text import Text

from swiotlb_top.accounting import fields
from swiotlb_top.accounting.fields import Field
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import MEANINGS, Headline
from swiotlb_top.accounting.words import SECTIONS
from swiotlb_top.findings.noticing import Noticing
from swiotlb_top.sizing.chart import Ink
from swiotlb_top.sizing.report import answer
from swiotlb_top.sizing.sized import Question
from swiotlb_top.sources.replay import ReplaySource
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS, press
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.view import PLAIN, Page
from tests.support.doctoring import STALL

DOCS: Final = Path(__file__).parents[2] / "docs"
THEMES: Final = {"dark": DIMMED_MONOKAI, "light": DEFAULT_TERMINAL_THEME}
TWO_DISKS: Final = STALL.parent / "debian-7.3.swtrace"
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
*slots* is a gauge of the slots in use in each pool and, while maps fail, of those in use at a
failure, *peak* a gauge of the most that ever were in use. *trend* has the
latest readings, one in each cell. On a screen with room *TIME* has them as charts in its place: a cell is as high as
the highest reading in it, and a dot is a reading of 0. `[` and `]` choose how far back they reach, from one minute to
120. *SLOTS* is a map of the selected pool, or else of the fullest. At the finest, each cell is a slot, with a letter
and a colour for the device that has it, so that one sees in which pieces the pool is free. `a` gives letters and
colours to the age of the mappings in place of their devices, and back; the title says which it is:

![The map of a pool in four areas by age: half of the slots in use were taken less than 10 ms ago](slots.svg)

Of a kernel that runs the slots are read now and then, so an age is the most it can be: since the look before the first
that had the mapping. A device that takes the same slots for the same buffer between two looks seems to have kept them.

`w` has the flight recorder of this machine (`swiotlb-top record --flight 2m`, or the service `swiotlb-flight`) write
the latest minutes as a recording, and the last line says where it is. The screen itself holds none: it has the kernel
count calls, and recording each of them costs more. Without a flight recorder the last line says that nothing is
written.

*LOG* lists growth, pools that were added and freed, lost events, disagreements, and devices that began to fail. Each
row of *FAILURES* stands for maps in a row that failed alike: of one device, of one size, for one cause. *MOMENT* is the
map of the slots at the latest failure that was looked at, and `Enter` on a row shows all of that moment:

![The moment of a failure: what was asked, who held the slots, and the map of the slots then](failure.svg)

Whoever knows htop finds its keys: `F1` help, `F2` columns, `F4` filter, `F6` order, `F10` quit (without F-keys: `?`,
`c`, `/`, `o`, `q`). A filter is the focused panel's own. `W` keeps columns and orders for the next time, in
`swiotlb-top/config.toml` below `$XDG_CONFIG_HOME` or `~/.config`; the file is read when the screen starts, and written
only then, since the disk may be the one that is stalled:

```
[devices]
columns = ["name", "map_failures_per_second", "held_slots"]
sort = "held_slots"
ascending = false
```

With `--mouse` a click selects a row or a panel, a click on the selected row opens it, one on a line of a menu chooses
it, and the wheel scrolls. Terminals then select text while Shift is held down.

Fields have the names of [json.md](json.md). If the file cannot be used, the last line says why, and all is as without
it.

Calls are recorded in bursts, which are a sample: a device's failures are counted exactly, but the causes of some are
not known. The screen uses the terminal's own sixteen colours, and says nothing by colour alone. `NO_COLOR` turns
colours off, and `--ascii` uses only ASCII characters. If the output is not a terminal, and with `TERM=dumb` or `-n`,
frames are plain text: each of the first lines begins with its label, and each table with a line that names it. `--json`
prints frames as objects ([json.md](json.md)). [glossary.md](glossary.md) explains every term in two sentences.
"""


def frame_at(recording: Path, position_ns: int) -> Frame:
    """A recording's frame at a position, with what is found in it."""
    return Noticing()(Frame.of(ReplaySource(recording, start_ns=position_ns).snapshot()))


class Picture(NamedTuple):
    """What is to be seen on a picture."""

    recording: Path
    position_ns: int
    width: int
    height: int
    theme: str
    keys: tuple[str, ...] = ()

    def lines(self) -> list[Text]:
        """The screen after these keys."""
        frame, view = frame_at(self.recording, self.position_ns), PLAIN
        for key in self.keys:
            view = press(view, frame, key)
            if view.page is Page.SIZE:
                view = replace(view, sized=_sized(self.recording))
        return render(frame, view, UNICODE, self.width, self.height)

    def svg(self) -> str:
        """The same as SVG."""
        return drawn(self.lines(), self.width, self.height, THEMES[self.theme])


PICTURES: Final = {
    "screen": Picture(STALL, SHOWN_NS, 110, 42, "dark", ("S", "escape")),
    "slots": Picture(TWO_DISKS, 1_000_000_000, 110, 34, "light", ("tab", "tab", "a")),
    "failure": Picture(STALL, SHOWN_NS, 110, 26, "dark", ("tab", "tab", "tab", "enter")),
}
"""By name of the file in docs/."""


def _sized(recording: Path) -> tuple[str, ...]:
    """What the page of sizes says when it is computed."""
    report = answer([recording], Question(), None)
    return tuple(report.answer_first(Ink(UNICODE.full, UNICODE.empty, UNICODE.pointer)))


def without_seams(line: Text) -> Text:
    """A line whose full blocks are blanks on a ground of their colour: fonts leave seams between the former."""
    solid = Text(line.plain.replace(UNICODE.full, " "), style=line.style, spans=line.spans)
    for at, character in enumerate(line.plain):
        if character == UNICODE.full:
            solid.stylize("reverse", at, at + 1)
    return solid


def drawn(lines: Sequence[Text], width: int, height: int, theme: TerminalTheme) -> str:
    """A screen as SVG."""
    console = Console(width=width, height=height, record=True, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(without_seams(line), soft_wrap=True)
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
    for name, picture in PICTURES.items():
        (DOCS / f"{name}.svg").write_text(picture.svg())
    (DOCS / "screen.md").write_text(page())


if __name__ == "__main__":
    main()
