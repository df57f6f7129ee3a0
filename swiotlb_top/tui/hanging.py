"""Lines that begin with a label. Where they are wrapped, the text stays to the right of the label."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.text import Text

from swiotlb_top.tui import styles
from swiotlb_top.tui.glyphs import Glyphs

LABEL_WIDTH: Final = 9
_FURTHER_IN: Final = 2


class Line(NamedTuple):
    """A label and the text beside it."""

    label: str
    text: Text


def labelled(label: str, *parts: str | Text | tuple[str, str]) -> Line:
    """A line made of parts, some of which have a style."""
    return Line(label, Text.assemble(*parts))


def hanging(lines: Sequence[Line], width: int, label_width: int = LABEL_WIDTH) -> list[Text]:
    """The lines wrapped to ``width``; at least a column of each is kept beside its label."""
    return [
        Text.assemble((("" if number else label).ljust(label_width), styles.LABEL), piece)
        for label, text in lines
        for number, piece in enumerate(_wrapped(text, max(1, width - label_width)))
    ]


def cut(line: Text, width: int, glyphs: Glyphs) -> None:
    """Cut a line to ``width`` columns. An ellipsis shows where something was cut."""
    if len(line.plain) > width:
        line.rstrip()
    if len(line.plain) > width:
        line.truncate(max(width - len(glyphs.ellipsis), 0))
        line.append(glyphs.ellipsis)
    line.truncate(width)


def folded(line: str, width: int) -> list[str]:
    """A line broken between words to ``width`` columns; its rest is indented a little further than it begins."""
    if len(line) <= width:
        return [line]
    indent = " " * min(len(line) - len(line.lstrip()) + _FURTHER_IN, width // 2)
    return textwrap.wrap(
        line, max(width, 1), subsequent_indent=indent, break_on_hyphens=False, replace_whitespace=False
    )


def _wrapped(text: Text, width: int) -> list[Text]:
    """``text`` in pieces of at most ``width``, broken at blanks where there are any, and never at a hyphen of a command
    or a name."""
    if len(text.plain) <= width:
        return [text]
    pieces, at = [], 0
    lines = textwrap.wrap(text.plain, width, drop_whitespace=False, replace_whitespace=False, break_on_hyphens=False)
    for line in lines:
        piece = text[at + len(line) - len(line.lstrip()) : at + len(line)]
        at += len(line)
        piece.rstrip()
        pieces.append(piece)
    return pieces
