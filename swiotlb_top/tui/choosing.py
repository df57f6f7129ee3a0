"""The two menus: by which field the focused panel is sorted, and which of its columns are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from swiotlb_top.accounting.field import Field
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.tui.view import Change, Order, Page, View


def fields_of(view: View) -> Sequence[Field[Any]]:
    """The fields of the focused panel; none if it is no table."""
    # Looked up when a key is pressed: the manual page lists the keys, and draws nothing.
    from swiotlb_top.tui.panels import PANELS

    table = PANELS[view.focus].table
    return table.fields if table else ()


def menu(page: Page) -> Change:
    """To a menu, or back from it."""

    def change(view: View, _: Frame) -> View:
        if view.page is page:
            return replace(view, page=Page.PANELS)
        names = [field.name for field in fields_of(view)]
        if not names:
            return view
        order = view.orders.get(view.focus)
        marked = 1 + names.index(order.field) if order and page is Page.SORT else 0
        return replace(view, page=page, marked=marked)

    return change


def lines_of(view: View) -> int:
    """How many lines the open menu has: to sort there is the panel's own order, too."""
    return len(fields_of(view)) + (view.page is Page.SORT)


def choose(view: View) -> View:
    """What Enter does on the marked line of the open menu."""
    return _sorted(view) if view.page is Page.SORT else _toggled(view)


def _sorted(view: View) -> View:
    """In the chosen order; if it is chosen again, the other way round."""
    panels = replace(view, page=Page.PANELS)
    if not view.marked:
        return panels.order(None)
    field = fields_of(view)[view.marked - 1]
    order = view.orders.get(view.focus)
    if order and order.field == field.name:
        return panels.order(replace(order, ascending=not order.ascending))
    return panels.order(first_order(field))


def first_order(field: Field[Any]) -> Order:
    """Words from A on, numbers from the largest."""
    return Order(field.name, field.unit.name in ("WORDS", "ADDRESS"))


def _toggled(view: View) -> View:
    """With a column more or less. One stays, whatever is chosen."""
    names = [field.name for field in fields_of(view)]
    shown = {*view.columns.get(view.focus, names)} ^ {names[view.marked]}
    if not shown:
        return view
    columns = {panel: kept for panel, kept in view.columns.items() if panel != view.focus}
    if len(shown) < len(names):
        columns[view.focus] = tuple(name for name in names if name in shown)
    return replace(view, columns=columns)
