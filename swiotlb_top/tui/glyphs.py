"""The few characters beyond letters and digits, and what stands for them where they cannot be shown."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character set: ``full`` and ``empty`` of a gauge are one column wide each."""

    full: str
    empty: str
    dot: str
    ellipsis: str
    ascii_only: bool

    def text(self, foreign: str) -> str:
        """Text from outside (device names, recordings) without control characters or escape codes."""
        safe = "".join(char if char.isprintable() else "?" for char in foreign)
        return safe.encode("ascii", "replace").decode("ascii") if self.ascii_only else safe

    def shortened(self, foreign: str, width: int) -> str:
        """The same cut to ``width`` characters, an ellipsis showing the cut."""
        safe = self.text(foreign)
        return safe if len(safe) <= width else safe[: max(0, width - len(self.ellipsis))] + self.ellipsis


UNICODE: Final = Glyphs("█", "░", "·", "…", ascii_only=False)
ASCII: Final = Glyphs("#", ".", "|", "~", ascii_only=True)


def for_encoding(encoding: str | None) -> Glyphs:
    """The characters that an output of this encoding can show."""
    try:
        return UNICODE if codecs.lookup(encoding or "ascii").name == "utf-8" else ASCII
    except LookupError:
        return ASCII
