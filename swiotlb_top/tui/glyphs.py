"""The few characters beyond letters and digits, and the ASCII characters used if a terminal cannot show them."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character set; each is one column wide."""

    full: str
    peak: str
    empty: str
    """Of a gauge: in use, in use at some time, never in use."""
    border: str
    """Between two pools, and between two areas."""
    heat: str
    """Shades of a slot set, from free to full."""
    spark: str
    """Heights of a sparkline, from 0 to the highest value."""
    dot: str
    ellipsis: str
    rule: str
    pointer: str
    falling: str
    rising: str
    playing: str
    ascii_only: bool

    def text(self, foreign: str) -> str:
        """Text from outside (device names, recordings) without control characters or escape codes."""
        safe = foreign if foreign.isprintable() else "".join(char if char.isprintable() else "?" for char in foreign)
        return safe.encode("ascii", "replace").decode("ascii") if self.ascii_only and not safe.isascii() else safe

    def shortened(self, foreign: str, width: int) -> str:
        """The same text cut to ``width`` characters. An ellipsis shows where it was cut."""
        safe = self.text(foreign)
        return safe if len(safe) <= width else safe[: max(0, width - len(self.ellipsis))] + self.ellipsis


UNICODE: Final = Glyphs(
    full="█",
    peak="▒",
    empty="·",
    border="│",
    heat="·▁▂▃▄▅▆▇█",
    spark=" ▁▂▃▄▅▆▇█",
    dot="·",
    ellipsis="…",
    rule="─",
    pointer="▶",
    falling="▼",
    rising="▲",
    playing="▶",
    ascii_only=False,
)
ASCII: Final = Glyphs(
    full="#",
    peak="+",
    empty=".",
    border="|",
    heat=".12345678#",
    spark=" .:-=+*#@",
    dot="|",
    ellipsis="~",
    rule="-",
    pointer=">",
    falling="v",
    rising="^",
    playing=">",
    ascii_only=True,
)


def for_encodings(*encodings: str | None) -> Glyphs:
    """The character set that all of these encodings can show: ASCII unless each of them is UTF-8."""
    return UNICODE if all(map(_is_utf_8, encodings)) else ASCII


def _is_utf_8(encoding: str | None) -> bool:
    try:
        return codecs.lookup(encoding or "ascii").name == "utf-8"
    except LookupError:
        return False
