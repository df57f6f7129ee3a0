"""What each key does to the view: pure, from one view to the next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.sources import PlayOrder
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS, key_of, press, told_apart
from swiotlb_top.tui.panels import ORDER, PANELS
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.view import PLAIN, Order, Page, View
from tests.support.snapshots import (
    DEFAULT_POOL,
    DISK,
    GROWN_POOL,
    NVME,
    PLAYED,
    QUIET,
    STALLED,
    STALLING,
    TRANSIENT_POOL,
)

EVERY_NAME = [name for key in (*KEYS, *PLAY_KEYS) for name in key.names]


def after(*names: str, view: View = PLAIN, frame: Frame = STALLING) -> View:
    """The view after these keys; one letter types itself."""
    for name in names:
        view = press(view, frame, name, name if len(name) == 1 else " " if name == "space" else None)
    return view


def shown_devices(view: View, frame: Frame = STALLING) -> list[object]:
    return PANELS["devices"].keys(frame, view)


def test_no_key_has_two_meanings() -> None:
    assert len(EVERY_NAME) == len(set(EVERY_NAME))


def test_a_key_nobody_offers_changes_nothing() -> None:
    assert after("x", "ctrl+a", "f9") == PLAIN


def test_tab_goes_through_the_panels_and_round() -> None:
    seen = [PLAIN.focus]
    view = PLAIN
    there = [name for name in ORDER if PANELS[name].is_there(STALLING)]
    for _ in there:
        view = after("tab", view=view)
        seen.append(view.focus)
    assert seen == [*there, ORDER[0]]
    assert after("tab", "shift+tab") == PLAIN


def test_down_selects_the_first_row_then_the_next_and_stays_at_the_last() -> None:
    trouble_first = [DISK.dev, NVME.dev]
    assert shown_devices(PLAIN) == trouble_first
    assert [after(*["down"] * times).selected["devices"] for times in (1, 2, 3)] == [*trouble_first, NVME.dev]
    assert after("down", "down", "up").selected["devices"] == DISK.dev
    assert after("end").selected["devices"] == NVME.dev
    assert after("end", "home").selected["devices"] == DISK.dev


def test_page_keys_go_ten_rows() -> None:
    many = tuple(replace(NVME, dev=number, name=f"device-{number:03}") for number in range(100))
    frame = Frame(replace(STALLED, devices=many), QUIET)
    view = after("home", "pagedown", "pagedown", frame=frame)
    assert view.selected["devices"] == 20
    assert after("pageup", view=view, frame=frame).selected["devices"] == 10


def test_a_selection_stays_with_its_row_when_the_order_changes() -> None:
    view = after("down")
    assert view.selected["devices"] == DISK.dev
    by_name = view.order(Order("name"))
    assert shown_devices(by_name) == [NVME.dev, DISK.dev]
    assert by_name.selected["devices"] == DISK.dev


def test_where_the_selected_row_is_gone_the_first_is_drawn_as_selected_and_keys_go_on_from_there() -> None:
    view = View(selected={"devices": 12345})
    drawn = PANELS["devices"].draw(STALLING, view, UNICODE, 80, 5)
    assert [line.plain.split()[0] for line in drawn if line.style == "reverse"] == [DISK.name]
    assert after("down", view=view).selected["devices"] == NVME.dev
    assert after("up", view=view).selected["devices"] == DISK.dev


def test_each_panel_has_its_own_selection() -> None:
    view = after("down", "tab", "down", "down")
    assert view.selected == {"devices": DISK.dev, "pools": GROWN_POOL.address}


def test_s_goes_through_the_fields_and_at_last_to_the_panels_own_order() -> None:
    view, seen = PLAIN, []
    table = PANELS["devices"].table
    assert table is not None
    for _ in table.fields:
        view = after("s", view=view)
        seen.append(view.orders["devices"].field)
    assert seen == [field.name for field in table.fields]
    assert after("s", view=view).orders == {}


def test_words_are_sorted_from_a_and_numbers_from_the_largest_and_r_turns_it_round() -> None:
    by_name = after("s")
    assert by_name.orders["devices"] == Order("name", ascending=True)
    assert shown_devices(by_name) == [DISK.dev, NVME.dev]
    assert shown_devices(after("r", view=by_name)) == [NVME.dev, DISK.dev]
    by_rate = after("s", "s", "s", view=by_name)
    assert by_rate.orders["devices"] == Order("maps_per_second", ascending=False)
    assert shown_devices(by_rate) == [DISK.dev, NVME.dev]


def test_what_is_not_known_is_sorted_last_whichever_way() -> None:
    for ascending in (True, False):
        assert shown_devices(View(orders={"devices": Order("held_slots", ascending)})) == [DISK.dev, NVME.dev]


def test_r_without_an_order_of_ones_own_does_nothing() -> None:
    assert after("r") == PLAIN


def test_slash_types_a_filter_and_enter_keeps_it() -> None:
    view = after("slash", "N", "v", "x", "backspace", "enter")
    assert (view.filter, view.typing) == ("Nv", False)
    assert shown_devices(view) == [NVME.dev]


def test_keys_that_mean_something_elsewhere_are_letters_in_a_filter() -> None:
    assert after("slash", "q", "p", "s", "r").filter == "qpsr"
    assert after("slash", "f1", "tab", "up", view=View(filters={"devices": "a"})).filter == "a"


@pytest.mark.parametrize(("name", "filtered"), [("escape", ""), ("ctrl+u", "")])
def test_a_filter_is_cleared_while_typing(name: str, filtered: str) -> None:
    assert after("slash", "a", "b", name).filter == filtered


def test_the_filter_looks_at_words_and_addresses_of_every_table() -> None:
    assert PANELS["pools"].keys(STALLING, View(filters={"pools": "transient"})) == [TRANSIENT_POOL.address]
    assert PANELS["pools"].keys(STALLING, View(filters={"pools": "0x7bf0"})) == [DEFAULT_POOL.address]
    assert len(PANELS["failures"].keys(STALLING, View(filters={"failures": "longest free run"}))) == 1


def test_each_panel_has_its_own_filter() -> None:
    view = after("slash", "v", "enter", "tab", "slash", "g", "enter")
    assert view.filters == {"devices": "v", "pools": "g"}
    assert PANELS["pools"].keys(STALLING, view) == [GROWN_POOL.address]
    assert after("escape", view=view).filters == {"devices": "v"}


def test_the_log_is_filtered_by_its_words() -> None:
    view = View(filters={"log": "POOL"})
    assert [line.plain.split("  ")[2] for line in PANELS["log"].draw(STALLING, view, UNICODE, 80, 5)[1:]] == [
        "pool added"
    ]
    (_, why) = PANELS["log"].draw(STALLING, View(filters={"log": "x\x1b"}), UNICODE, 80, 5)
    assert why.plain == "none match 'x?'"


def test_the_map_of_slots_has_no_rows_to_filter() -> None:
    assert after("slash", view=View(focus="slots")) == View(focus="slots")


def test_enter_opens_the_selected_device_or_the_first() -> None:
    assert (after("enter").page, after("enter").selected) == (Page.DEVICE, {"devices": DISK.dev})
    assert after("end", "enter").selected == {"devices": NVME.dev}
    assert after("tab", "enter").page is Page.PANELS


def test_enter_on_nothing_opens_nothing() -> None:
    assert after("enter", frame=Frame(QUIET)) == PLAIN


def test_escape_goes_back_a_step_at_a_time() -> None:
    view = after("slash", "d", "enter", "down", "enter")
    assert (view.page, view.filter, len(view.selected)) == (Page.DEVICE, "d", 1)
    view = after("escape", view=view)
    assert (view.page, view.filter, len(view.selected)) == (Page.PANELS, "d", 1)
    view = after("escape", view=view)
    assert (view.filter, len(view.selected)) == ("", 1)
    assert after("escape", view=view) == PLAIN


def test_f_shows_what_is_found_and_again_goes_back() -> None:
    assert after("f").page is Page.FINDINGS
    assert after("f", "f").page is Page.PANELS
    assert after("f", "escape").page is Page.PANELS
    assert after("f", "question_mark").page is Page.HELP


@pytest.mark.parametrize("name", ["question_mark", "h", "f1"])
def test_help_comes_and_goes_with_the_same_key(name: str) -> None:
    assert after(name).page is Page.HELP
    assert after(name, name) == PLAIN
    assert after(name, "escape") == PLAIN


def test_a_long_page_is_scrolled_and_not_beyond_its_beginning() -> None:
    assert after("question_mark", "down", "pagedown", "up").scroll == 10
    assert after("question_mark", "up").scroll == 0
    first, last = (render(STALLING, after("question_mark", name), UNICODE, 80, 24)[1].plain for name in ("home", "end"))
    assert "KEYS" in first
    assert "KEYS" not in last


def test_p_holds_the_frame_on_show_and_p_again_lets_go() -> None:
    view = after("p")
    assert view.paused is STALLING
    assert after("p", view=view).paused is None


@pytest.mark.parametrize(
    ("name", "character", "keys"),
    [
        ("alt+p", "p", (("escape", None), ("p", "p"))),
        ("alt+shift+p", "P", (("escape", None), ("P", "P"))),
        ("alt+up", None, (("alt+up", None),)),
        ("p", "p", (("p", "p"),)),
        ("escape", "\x1b", (("escape", "\x1b"),)),
    ],
)
def test_esc_and_a_letter_told_of_as_one_are_two_keys(name: str, character: str | None, keys: object) -> None:
    assert told_apart(name, character) == keys


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("space", PlayOrder(stop_or_go=True)),
        ("right", PlayOrder(seek_ns=5_000_000_000)),
        ("left", PlayOrder(seek_ns=-5_000_000_000)),
        ("full_stop", PlayOrder(seek_ns=100_000_000)),
        ("comma", PlayOrder(seek_ns=-100_000_000)),
        ("n", PlayOrder(to_disagreement=1)),
        ("N", PlayOrder(to_disagreement=-1)),
        ("plus", PlayOrder(faster=2.0)),
        ("minus", PlayOrder(faster=0.5)),
    ],
)
def test_playing_keys_are_there_for_recordings_only(name: str, order: PlayOrder) -> None:
    key = key_of(name, playing=True)
    assert key is not None
    assert key.order == order
    assert key_of(name, playing=False) is None


@given(
    st.lists(st.sampled_from([*EVERY_NAME, *"abz/"]), max_size=30),
    st.sampled_from([STALLING, Frame(QUIET), Frame(PLAYED)]),
)
def test_whatever_is_pressed_there_is_a_screen(names: list[str], frame: Frame) -> None:
    view = after(*names, frame=frame)
    assert len(render(frame, view, UNICODE, 80, 24)) == 24
