"""The two menus, drawn: a line a field, of which one is marked."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from swiotlb_top.tui import mouse, styles
from swiotlb_top.tui.choosing import fields_of
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.view import Page, View

_TITLES: Final = {
    Page.SORT: "SORT {} by (Enter chooses, and turns it round if it is chosen already)",
    Page.COLUMNS: "COLUMNS of {} (Enter shows or hides one, W keeps them for the next time)",
}


def menu_page(view: View, glyphs: Glyphs, width: int, room: int) -> list[Text]:
    """The open menu in at most ``room`` lines; the marked one is among them."""
    words = f"{glyphs.pointer} {_TITLES[view.page].format(view.focus.upper())} "
    title = Text.assemble((words, styles.LABEL), (glyphs.rule * max(0, width - len(words)), styles.DIM))
    lines = _orders(view, glyphs) if view.page is Page.SORT else _columns(view)
    lines[view.marked] = Text(lines[view.marked].plain.ljust(width), style=styles.SELECTED)
    for number, line in enumerate(lines):
        mouse.of_line(line, number)
    first = max(view.marked + 2 - room, 0)
    return [title, *lines[first : first + max(room - 1, 0)]]


def _orders(view: View, glyphs: Glyphs) -> list[Text]:
    order = view.orders.get(view.focus)
    width = _title_width(view)
    lines = [_line(" " if order else glyphs.pointer, "its own", width, "The panel's own order, trouble first.")]
    for field in fields_of(view):
        way = glyphs.rising if order and order.ascending else glyphs.falling
        sign = way if order and order.field == field.name else " "
        lines.append(_line(sign, field.title, width, field.help))
    return lines


def _columns(view: View) -> list[Text]:
    fields = fields_of(view)
    shown = view.columns.get(view.focus, [field.name for field in fields])
    width = _title_width(view)
    return [_line(f"[{'x' if field.name in shown else ' '}]", field.title, width, field.help) for field in fields]


def _title_width(view: View) -> int:
    return max(len(field.title) for field in fields_of(view))


def _line(sign: str, title: str, width: int, meaning: str) -> Text:
    return Text.assemble(f"{sign} ", (title.ljust(width), styles.LABEL), "  ", (meaning, styles.DIM))
