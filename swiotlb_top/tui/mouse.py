"""The mouse: what is drawn carries what it stands for, and a click does what keys do to that."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, Final

from rich.text import Text

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.tui.keys import press
from swiotlb_top.tui.view import View

LINES: Final = 3
"""A step of the wheel is so many, as elsewhere."""
_PANEL, _ROW, _LINE = "panel", "row", "line"


def of_panel(text: Text, panel: str) -> None:
    """This text belongs to a panel."""
    text.apply_meta({_PANEL: panel})


def of_row(text: Text, panel: str, key: Hashable) -> None:
    """This text is the row of a panel with this key."""
    text.apply_meta({_PANEL: panel, _ROW: key})


def of_line(text: Text, line: int) -> None:
    """This text is a line of the open menu."""
    text.apply_meta({_LINE: line})


def click(view: View, frame: Frame, met: Mapping[str, Any]) -> View:
    """A click: it chooses a line of a menu, selects a row or, if that is selected already, opens it.

    :param met: what the text under the mouse was marked with.
    """
    if view.typing:
        return view
    if _LINE in met:
        return press(replace(view, marked=met[_LINE]), frame, "enter")
    if _PANEL not in met:
        return view
    panel = met[_PANEL]
    focused = replace(view, focus=panel)
    if _ROW not in met:
        return focused
    if (view.focus, view.selected.get(panel)) == (panel, met[_ROW]):
        return press(view, frame, "enter")
    return focused.select(met[_ROW])


def turn(view: View, frame: Frame, key: str) -> View:
    """A step of the wheel: a few lines, each by a press of the key up or down."""
    for _ in range(LINES):
        view = press(view, frame, key)
    return view
