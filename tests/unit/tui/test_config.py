"""What a user keeps of the screen comes back, and what cannot be used is said in one line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.tui import config
from swiotlb_top.tui.panels import PANELS
from swiotlb_top.tui.view import PLAIN, Order, View

FIELDS = {name: [field.name for field in panel.table.fields] for name, panel in PANELS.items() if panel.table}
CHOSEN = View(
    columns={"devices": ("name", "held_slots")},
    orders={"devices": Order("held_slots"), "pools": Order("start", ascending=True)},
)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@st.composite
def views(draw: st.DrawFn) -> View:
    columns, orders = {}, {}
    for panel, names in FIELDS.items():
        if chosen := draw(st.lists(st.sampled_from(names), unique=True)):
            columns[panel] = tuple(chosen)
        if field := draw(st.none() | st.sampled_from(names)):
            orders[panel] = Order(field, draw(st.booleans()))
    return replace(PLAIN, columns=columns, orders=orders)


@given(views())
def test_what_was_kept_is_what_is_read(view: View) -> None:
    assert config.read(config.text_of(view)) == view


def test_it_is_kept_in_the_directory_for_configuration_which_is_made_if_need_be(tmp_path: Path) -> None:
    told = config.keep(CHOSEN)
    assert told == f"columns and order are kept in {tmp_path}/swiotlb-top/config.toml"
    assert config.load() == CHOSEN
    assert (tmp_path / "swiotlb-top" / "config.toml").read_text() == (
        '[devices]\ncolumns = ["name", "held_slots"]\nsort = "held_slots"\nascending = false\n'
        '\n[pools]\nsort = "start"\nascending = true\n'
    )


def test_without_the_variable_it_is_below_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert config.path() == Path("/home/somebody/.config/swiotlb-top/config.toml")


def test_without_a_file_the_screen_is_as_ever() -> None:
    assert config.load() == PLAIN


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[devices", "Expected"),
        (b"\xff", "utf-8"),
        (b"colours = 1", "there is no [colours]: tables are devices, pools, failures"),
        (b"[slots]\nsort = 'x'", "there is no [slots]"),
        (b"devices = 1", "devices must be a table: [devices]"),
        (b"[devices]\nfilter = 'x'", "has columns, sort and ascending, and no 'filter'"),
        (b"[devices]\ncolumns = 'name'", "columns of [devices] must be a list of fields"),
        (b"[devices]\ncolumns = []", "columns of [devices] must be a list of fields"),
        (b"[devices]\ncolumns = ['name', 'nmae']", "[devices] has no field 'nmae'"),
        (b"[devices]\ncolumns = [['name']]", "[devices] has no field ['name']"),
        (b"[pools]\nsort = 7", "[pools] has no field 7"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_one_line_and_nothing_of_it_is_used(text: bytes, why: str) -> None:
    config.path().parent.mkdir()
    config.path().write_bytes(b"[pools]\nsort = 'start'\n" + text if text.startswith(b"[devices]") else text)
    view = config.load()
    assert why in view.kept
    assert str(config.path()) in view.kept
    assert view.kept.startswith("config.toml is not used, W writes it anew: ")
    assert "\n" not in view.kept
    assert replace(view, kept="") == PLAIN


def test_what_cannot_be_read_or_written_is_said_with_the_reason() -> None:
    config.path().mkdir(parents=True)
    assert config.load().kept == f"{config.path()} cannot be read: {os.strerror(21)}"
    assert config.keep(CHOSEN) == f"{config.path()} cannot be written: {os.strerror(21)}"


def test_a_file_that_is_written_anew_is_never_half_there(monkeypatch: pytest.MonkeyPatch) -> None:
    config.keep(CHOSEN)

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", fail)
    assert config.keep(PLAIN).endswith(f"cannot be written: {os.strerror(28)}")
    assert config.load() == CHOSEN
