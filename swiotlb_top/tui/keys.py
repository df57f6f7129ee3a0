"""The keys, in one table: what each does to the view. Footer and help page are made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import DeviceView, FailureView
from swiotlb_top.sources import PlayOrder
from swiotlb_top.tui.choosing import choose, first_order, lines_of, menu
from swiotlb_top.tui.view import Change, Page, View

if TYPE_CHECKING:
    from swiotlb_top.tui.panels import Panel

_LEAP_NS: Final = 5_000_000_000
_STEP_NS: Final = 100_000_000
_MENUS: Final = (Page.SORT, Page.COLUMNS)
WINDOWS: Final = (1, 2, 5, 10, 20, 30, 60, 120)
"""Minutes that the charts may reach back."""
_LEAPS: Final = 10
"""How many rows PgUp and PgDn move."""


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the key table. ``names`` are what the terminal layer calls the keys; ``shown`` is on the screen."""

    names: tuple[str, ...]
    shown: str
    word: str
    help: str
    change: Change | None = None
    """How it changes the view."""
    order: PlayOrder | None = None
    """How it changes the replay of a recording."""
    rank: int = 2
    """Where not all keys fit the footer, those of the lowest ranks are in it."""


def _panels() -> Mapping[str, Panel]:
    """Looked up when a key is pressed: the manual page lists the keys, and draws nothing."""
    from swiotlb_top.tui.panels import PANELS

    return PANELS


def _rows(view: View, frame: Frame, step: Callable[[int, int], int]) -> View:
    """Select another row; ``step`` gets its index (-1: none) and how many there are."""
    if view.page in _MENUS:
        lines = lines_of(view)
        return replace(view, marked=min(max(step(view.marked, lines), 0), lines - 1))
    if view.page is not Page.PANELS:
        return replace(view, scroll=max(0, step(view.scroll, 1 << 16)))
    keys = _panels()[view.focus].keys(frame, view)
    if not keys:
        return view
    selected = view.selected.get(view.focus)
    gone = 0 if view.focus in view.selected else -1
    at = keys.index(selected) if selected in keys else gone
    return view.select(keys[min(max(step(at, len(keys)), 0), len(keys) - 1)])


def _focus(step: int) -> Change:
    """To another panel. A menu is the focused panel's own, and is closed."""

    def change(view: View, frame: Frame) -> View:
        order = [name for name, panel in _panels().items() if name == view.focus or panel.is_there(frame)]
        page = Page.PANELS if view.page in _MENUS else view.page
        return replace(view, page=page, focus=order[(order.index(view.focus) + step) % len(order)])

    return change


def _next_order(view: View, _: Frame) -> View:
    """The table's own order, then by each field in turn: words from A on, numbers from the largest."""
    table = _panels()[view.focus].table
    if table is None:
        return view
    names = [None, *(field.name for field in table.fields)]
    order = view.orders.get(view.focus)
    name = names[(names.index(order.field if order else None) + 1) % len(names)]
    return view.order(None if name is None else first_order(table.field(name)))


def _reverse(view: View, _: Frame) -> View:
    order = view.orders.get(view.focus)
    return view.order(replace(order, ascending=not order.ascending)) if order else view


def _pause(view: View, frame: Frame) -> View:
    return replace(view, paused=None if view.paused else frame)


def _page(page: Page) -> Change:
    """To a page, or back from it."""

    def change(view: View, _: Frame) -> View:
        return replace(view, page=Page.PANELS if view.page is page else page, scroll=0)

    return change


def _open(view: View, frame: Frame) -> View:
    """The page of the selected device or failure; of the first row where none is selected."""
    if view.page in _MENUS:
        return choose(view)
    chosen = _panels()[view.focus].chosen(frame, view) if view.page is Page.PANELS else None
    if chosen is None:
        return view
    key, row = chosen
    if isinstance(row, FailureView):
        return replace(view.select(key), page=Page.FAILURE, failure=row, scroll=0)
    return replace(view.select(key), page=Page.DEVICE, scroll=0) if isinstance(row, DeviceView) else view


def _back(view: View, _: Frame) -> View:
    """Go back one step: leave a page, then drop the filter, then the selection."""
    if view.page is not Page.PANELS:
        return replace(view, page=Page.PANELS, scroll=0)
    if view.filter:
        return view.with_filter("")
    return replace(view, selected={})


def _reach(step: int) -> Change:
    """Charts over a longer time, or over a shorter one."""

    def change(view: View, _: Frame) -> View:
        at = WINDOWS.index(view.minutes) + step
        return replace(view, minutes=WINDOWS[min(max(at, 0), len(WINDOWS) - 1)])

    return change


def _by_age(view: View, _: Frame) -> View:
    return replace(view, by_age=not view.by_age)


def _type(view: View, _: Frame) -> View:
    return replace(view, page=Page.PANELS, typing=_panels()[view.focus].filtered)


KEYS: Final[tuple[Key, ...]] = (
    Key(("q", "Q", "f10"), "q", "quit", "Quit.", rank=1),
    Key(("question_mark", "h", "f1"), "?", "help", "What the keys do and the numbers mean.", _page(Page.HELP), rank=1),
    Key(("f",), "f", "findings", "What is wrong, the numbers that show it, and what helps.", _page(Page.FINDINGS)),
    Key(("S",), "S", "size", "How large swiotlb must be for the recording that is shown.", _page(Page.SIZE), rank=3),
    Key(
        ("enter",),
        "Enter",
        "open",
        "All about the selected device, or how it stood at the selected failure.",
        _open,
        rank=1,
    ),
    Key(("p", "P"), "p", "pause", "Hold the picture still; collecting goes on.", _pause, rank=1),
    Key(
        ("slash", "f4"),
        "/",
        "filter",
        "Show only those rows of the panel that have these words; Enter keeps, Esc clears.",
        _type,
        rank=1,
    ),
    Key(("tab",), "Tab", "panel", "Go to the next panel, which gets most of the room.", _focus(1), rank=1),
    Key(("shift+tab",), "Shift-Tab", "", "Go to the panel before.", _focus(-1)),
    Key(
        ("s",),
        "s",
        "sort",
        "Sort by the next field; at last in the panel's own order, trouble first.",
        _next_order,
        rank=1,
    ),
    Key(("f6", "o"), "F6", "order", "Choose the field that the panel is sorted by, from a menu.", menu(Page.SORT)),
    Key(("f2", "c"), "F2", "columns", "Choose the columns of the panel, from a menu.", menu(Page.COLUMNS)),
    Key(
        ("left_square_bracket",),
        "[",
        "shorter",
        "Charts of a shorter time, down to the latest minute.",
        _reach(-1),
        rank=3,
    ),
    Key(
        ("right_square_bracket",),
        "]",
        "longer",
        "Charts of a longer time, up to two hours.",
        _reach(1),
        rank=3,
    ),
    Key(
        ("a",),
        "a",
        "age",
        "Colour the map of slots by the age of the mappings, or again by whose they are.",
        _by_age,
        rank=3,
    ),
    Key(
        ("w",),
        "w",
        "write",
        "Have the flight recorder that runs here write the latest minutes as a recording.",
    ),
    Key(("W",), "W", "keep", "Keep columns and order of all panels for the next time, in config.toml.", rank=3),
    Key(("r",), "r", "reverse", "Turn the order round.", _reverse),
    Key(("up", "k"), "Up", "", "Select the row above.", lambda v, f: _rows(v, f, lambda at, n: at - 1)),
    Key(("down", "j"), "Down", "", "Select the row below.", lambda v, f: _rows(v, f, lambda at, n: at + 1)),
    Key(("pageup",), "PgUp", "", "Ten rows up.", lambda v, f: _rows(v, f, lambda at, n: at - _LEAPS)),
    Key(("pagedown",), "PgDn", "", "Ten rows down.", lambda v, f: _rows(v, f, lambda at, n: at + _LEAPS)),
    Key(("home", "g"), "Home", "", "The first row.", lambda v, f: _rows(v, f, lambda at, n: 0)),
    Key(("end", "G"), "End", "", "The last row.", lambda v, f: _rows(v, f, lambda at, n: n - 1)),
    Key(("escape",), "Esc", "back", "Back: from a page, then drop the filter, then the selection.", _back),
    Key(("ctrl+z",), "Ctrl-Z", "", "Give the terminal back to the shell; fg returns."),
)
"""On every screen. Those without a change are the application's own."""

PLAY_KEYS: Final[tuple[Key, ...]] = (
    Key(
        ("space",), "Space", "stop/go", "Stop the recording, or let it go on.", order=PlayOrder(stop_or_go=True), rank=1
    ),
    Key(("right",), "Right", "+5s", "Five seconds on.", order=PlayOrder(seek_ns=_LEAP_NS), rank=3),
    Key(("left",), "Left", "-5s", "Five seconds back.", order=PlayOrder(seek_ns=-_LEAP_NS), rank=3),
    Key(
        ("greater_than_sign", "full_stop"),
        ">",
        "",
        "A tenth of a second on.",
        order=PlayOrder(seek_ns=_STEP_NS),
    ),
    Key(("less_than_sign", "comma"), "<", "", "A tenth of a second back.", order=PlayOrder(seek_ns=-_STEP_NS)),
    Key(("plus", "equals_sign"), "+", "faster", "Twice as fast.", order=PlayOrder(faster=2.0), rank=3),
    Key(("minus",), "-", "slower", "Half as fast.", order=PlayOrder(faster=0.5), rank=3),
    Key(
        ("n",), "n", "disagreement", "Go to the next disagreement, and stop there.", order=PlayOrder(to_disagreement=1)
    ),
    Key(("N",), "N", "", "Go to the previous disagreement, and stop there.", order=PlayOrder(to_disagreement=-1)),
)
"""The keys that work while a recording is shown."""


def key_of(name: str, *, playing: bool) -> Key | None:
    """The line of the table for a key with this name."""
    offered = (*KEYS, *PLAY_KEYS) if playing else KEYS
    return next((key for key in offered if name in key.names), None)


def told_apart(name: str, character: str | None) -> tuple[tuple[str, str | None], ...]:
    """The keys, each a name and what it types, that the terminal layer told of as one.

    Esc and a letter that are read together, typed fast or on a slow machine, are to a terminal the
    letter with Alt held down. No Alt key does anything here, so both are meant.
    """
    if character and name.startswith("alt+"):
        return ("escape", None), (character, character)
    return ((name, character),)


def press(view: View, frame: Frame, name: str, character: str | None = None) -> View:
    """The view after a key.

    :param frame: the one on show.
    :param name: the key's, as the terminal layer calls it.
    :param character: what it types, if it does.
    """
    if view.typing:
        return _typed(view, name, character)
    key = key_of(name, playing=frame.now.playback is not None)
    return key.change(view, frame) if key and key.change else view


def _typed(view: View, name: str, character: str | None) -> View:
    if name == "enter":
        return replace(view, typing=False)
    if name == "escape":
        return replace(view.with_filter(""), typing=False)
    if name in ("backspace", "ctrl+h"):
        return view.with_filter(view.filter[:-1])
    if name == "ctrl+u":
        return view.with_filter("")
    if character and character.isprintable():
        return view.with_filter(view.filter + character)
    return view
