"""What is written about the screen is what the screen is made of."""

from __future__ import annotations

import html
import re
from pathlib import Path

from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.view import PLAIN
from tests.doctoring import STALL
from tests.screen_docs import DOCS, SHOWN_NS, frame_at, page

README = Path(__file__).parents[2] / "README.md"


def test_every_key_and_field_is_in_the_docs_as_it_is_in_the_tables() -> None:
    """If not: python -m tests.screen_docs."""
    assert (DOCS / "screen.md").read_text() == page()


def test_the_picture_is_of_this_screen() -> None:
    """Its words, not its pixels: those are rich's. If not: python -m tests.screen_docs."""
    picture = html.unescape(re.sub(r"<[^>]*>", "", (DOCS / "screen.svg").read_text()))
    drawn = "".join(picture.split())
    lines = ["".join(line.plain.split()) for line in render(frame_at(STALL, SHOWN_NS), PLAIN, UNICODE, 110, 30)]
    assert [line for line in lines if line not in drawn] == []


def test_the_readme_names_every_key() -> None:
    text = README.read_text()
    spoken = {"Up": "up", "Down": "down", "Left": "left", "Right": "right", "Shift-Tab": "Tab"}
    assert [key.shown for key in (*KEYS, *PLAY_KEYS) if spoken.get(key.shown, key.shown) not in text] == []
