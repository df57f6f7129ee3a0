"""The menus of orders and of columns: what Enter does on each line of them."""

from __future__ import annotations

import pytest

from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import press
from swiotlb_top.tui.panels import PANELS
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.view import PLAIN, Order, Page, View
from tests.support.drawn import assert_golden, plain_text
from tests.support.snapshots import STALLING

TABLE = PANELS["devices"].table
assert TABLE is not None
NAMES = [field.name for field in TABLE.fields]


def after(*names: str, view: View = PLAIN) -> View:
    for name in names:
        view = press(view, STALLING, name)
    return view


def marked_on(page: str, name: str, view: View = PLAIN) -> View:
    """The menu with a field marked."""
    first = 1 if page == "f6" else 0
    return after(page, "home", *["down"] * (first + NAMES.index(name)), view=view)


def drawn(view: View, width: int = 80, height: int = 24) -> str:
    return plain_text(render(STALLING, view, UNICODE, width, height))


def test_enter_sorts_by_the_marked_field_and_goes_back() -> None:
    view = after("enter", view=marked_on("f6", "held_slots"))
    assert (view.page, view.orders) == (Page.PANELS, {"devices": Order("held_slots")})
    assert after("enter", view=marked_on("f6", "name")).orders == {"devices": Order("name", ascending=True)}


def test_to_choose_the_same_field_again_turns_it_round_and_it_is_marked_from_the_start() -> None:
    once = after("enter", view=marked_on("f6", "held_slots"))
    assert after("f6", "enter", view=once).orders == {"devices": Order("held_slots", ascending=True)}


def test_the_first_line_is_the_panel_s_own_order() -> None:
    sorted_by = after("enter", view=marked_on("f6", "held_slots"))
    assert after("f6", "home", "enter", view=sorted_by) == PLAIN


def test_enter_hides_a_column_and_shows_it_again() -> None:
    hidden = after("enter", view=marked_on("f2", "driver"))
    assert hidden.page is Page.COLUMNS
    assert hidden.columns == {"devices": tuple(name for name in NAMES if name != "driver")}
    panels = after("escape", view=hidden)
    assert "DRIVER" in drawn(PLAIN)
    assert "DRIVER" not in drawn(panels)
    assert after("enter", view=hidden).columns == {}


def test_one_column_stays() -> None:
    view = after(view=View(columns={"devices": ("name",)}))
    assert after("enter", view=marked_on("f2", "name", view)).columns == {"devices": ("name",)}


def test_a_column_that_was_chosen_is_there_even_if_nothing_of_it_is_known() -> None:
    chosen = View(columns={"devices": ("name", "oldest_open_ns")})
    assert "OLDEST" not in drawn(PLAIN, 300)
    assert "DEVICE        OLDEST" in drawn(chosen)


def test_the_field_that_is_sorted_by_is_shown_though_it_was_not_chosen() -> None:
    view = View(columns={"devices": ("name",)}, orders={"devices": Order("held_slots")})
    assert "DEVICE        SLOTS" in drawn(view)


@pytest.mark.parametrize("name", ["f6", "f2"])
def test_a_panel_that_is_no_table_has_no_menu(name: str) -> None:
    for panel in ("slots", "log"):
        assert after(name, view=View(focus=panel)) == View(focus=panel)


@pytest.mark.parametrize("page", ["f6", "f2"])
@pytest.mark.parametrize("name", ["tab", "shift+tab"])
def test_to_go_to_another_panel_leaves_the_menu_of_this_one(page: str, name: str) -> None:
    gone = after(page, "pagedown", name)
    assert gone.page is Page.PANELS
    assert gone.focus != PLAIN.focus


@pytest.mark.parametrize("name", ["f6", "f2"])
def test_a_menu_is_left_by_escape_and_by_its_own_key_without_a_change(name: str) -> None:
    for left in (after(name, "down", "escape"), after(name, "down", name)):
        assert (left.page, left.orders, left.columns) == (Page.PANELS, {}, {})


@pytest.mark.parametrize("height", [5, 12, 24])
@pytest.mark.parametrize("page", ["f6", "f2"])
def test_the_marked_line_is_on_the_screen_however_small_that_is(page: str, height: int) -> None:
    view = after(page)
    for _ in range(len(NAMES) + 3):
        lines = render(STALLING, view, UNICODE, 60, height)
        assert len([line for line in lines[1:] if line.style == "reverse"]) == 1
        view = after("down", view=view)


@pytest.mark.parametrize("page", ["f6", "f2"])
def test_the_menus(page: str) -> None:
    view = after("down", "down", view=after(page, view=View(orders={"devices": Order("maps_per_second")})))
    assert_golden(f"menu-{page}-80", drawn(view))
