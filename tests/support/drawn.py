"""Golden frames: what was drawn must be what lies in tests/unit/tui/golden_frames, character by character.

To draw them anew, on purpose: SWIOTLB_TOP_GOLDEN=write pytest tests/unit/tui/test_golden_frames.py, and read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

DIRECTORY = Path(__file__).parents[1] / "unit" / "tui" / "golden_frames"


def plain_text(lines: Sequence[Text]) -> str:
    """Lines as a terminal without colours has them, without blanks at their ends."""
    return "".join(f"{line.plain.rstrip()}\n" for line in lines)


def assert_golden(name: str, drawn: str) -> None:
    path = DIRECTORY / f"{name}.txt"
    if os.environ.get("SWIOTLB_TOP_GOLDEN") == "write":
        DIRECTORY.mkdir(exist_ok=True)
        path.write_text(drawn)
    assert drawn == path.read_text()
