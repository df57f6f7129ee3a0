"""The panels below the overview, devices to log. Each is drawn in as many lines as it gets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from rich.text import Text

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.accounting.snapshot import FailureView, PoolView
from swiotlb_top.tui import mouse, slot_map, styles, tables
from swiotlb_top.tui.ages import Ages, by_age
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.hanging import cut
from swiotlb_top.tui.owners import Owners
from swiotlb_top.tui.tables import Table
from swiotlb_top.tui.view import View

_MOST_WANTED: Final = 100
"""Lines of a panel that a screen may have room for."""
_MAP_LINES: Final = 12
"""Lines of the map of slots, unless it is in focus and may fill the screen."""

_FREE_LINES: Final = 2
"""Those of one in which all is free."""

Body: TypeAlias = Callable[[Frame, View, Glyphs, int, int | None], list[Text]]
"""Frame, view, glyphs, width and height (None: as many as it takes) in, lines without the title out."""


@dataclass(frozen=True)
class Panel:
    """One panel. ``table`` is None where it has no rows to go through."""

    name: str
    title: Callable[[Frame, View], str]
    body: Body
    has_content: Callable[[Frame], bool]
    table: Table[Any] | None = None
    least: int = 3
    """Lines that it is worth opening for: title, head, a row."""
    optional: bool = False
    """Whether it is not there at all where it has no content."""
    filtered: bool = True
    """Whether it has lines that a filter may leave out."""
    nothing: Callable[[Frame], str] | None = None
    """What its title says where there is nothing in it, so that it needs no lines."""

    def draw(self, frame: Frame, view: View, glyphs: Glyphs, width: int, height: int | None) -> list[Text]:
        """The panel under its title in at most ``height`` lines; where it can show nothing, why."""
        title = self._title(frame, view, glyphs, width, height is not None)
        if height == 1 or self._is_shut(frame):
            return [title]
        room = None if height is None else height - 1
        if frame.now.unseen:
            return [title, Text(glyphs.shortened(frame.now.unseen, width), style=styles.DIM)]
        return [title, *self.body(frame, view, glyphs, width, room)]

    def wanted(self, frame: Frame, view: View, glyphs: Glyphs, width: int) -> int | list[Text]:
        """How many lines it would fill; or these, where they had to be drawn to know."""
        if not self.is_there(frame):
            return 0
        if frame.now.unseen:
            return 2
        if self._is_shut(frame):
            return 1
        if self.table is not None:
            return 2 + len(self.table.shown(frame, view, self.name))
        return self.draw(frame, view, glyphs, width, 1 + _MOST_WANTED)

    def _is_shut(self, frame: Frame) -> bool:
        """Whether its title says all."""
        return self.nothing is not None and not frame.now.unseen and not self.has_content(frame)

    def is_there(self, frame: Frame) -> bool:
        """Whether it has a place on the screen."""
        return self.has_content(frame) or not self.optional

    def keys(self, frame: Frame, view: View) -> list[Hashable]:
        """The keys of its rows, in the order shown."""
        if self.table is None:
            return []
        return [self.table.key(row) for row in self.table.shown(frame, view, self.name)]

    def chosen(self, frame: Frame, view: View) -> tuple[Hashable, object] | None:
        """Key and row of the selected row, or else of the first; None where there is none."""
        rows = self.table.shown(frame, view, self.name) if self.table else []
        if self.table is None or not rows:
            return None
        row = rows[tables.selected_index(self.table, rows, view, self.name)]
        return self.table.key(row), row

    def _title(self, frame: Frame, view: View, glyphs: Glyphs, width: int, live: bool) -> Text:
        focused = live and view.focus == self.name
        words = f"{glyphs.pointer if focused else glyphs.rule} {glyphs.text(self.title(frame, view))}"
        words += f": {self.nothing(frame)}" if self.nothing and self._is_shut(frame) else ""
        order = view.orders.get(self.name)
        if order and self.table:
            words += f" by {self.table.field(order.field).title}"
        if wanted := view.filters.get(self.name):
            words += f" with {glyphs.text(wanted)!r}"
        rule = glyphs.rule * max(0, width - len(words) - 1) if live else ""
        title = Text.assemble((words, styles.LABEL), (f" {rule}", styles.DIM))
        cut(title, width, glyphs)
        mouse.of_panel(title, self.name)
        return title


def _table(name: str, table: Table[Any]) -> Body:
    def body(frame: Frame, view: View, glyphs: Glyphs, width: int, height: int | None) -> list[Text]:
        if not table.shown(frame, view, name):
            return [Text(f"none match {glyphs.text(view.filters.get(name, ''))!r}", style=styles.DIM)]
        focused = view.focus == name
        return tables.draw(table, name, frame, view, glyphs, width, height, focused=focused)

    return body


def chosen_pool(frame: Frame, view: View) -> PoolView | None:
    """The pool selected in the panel of pools, else the fullest pool whose slots are known."""

    def fullness(pool: PoolView) -> tuple[bool, float]:
        return pool.slots is not None, pool.used_slots / max(pool.nslabs, 1)

    found = tables.pools_in_order(frame)
    key = view.selected.get("pools")
    return next((pool for pool in found if pool.address == key), None) or max(found, key=fullness, default=None)


def _slots(frame: Frame, view: View, glyphs: Glyphs, width: int, height: int | None) -> list[Text]:
    pool = chosen_pool(frame, view)
    if pool is None or pool.slots is None:
        why = "transient pools have one mapping, and no slots to look at" if pool else "no pool is known"
        return [Text(why if pool is None or pool.transient else "its slots were not read yet", style=styles.DIM)]
    slots, owners = pool.slots, Owners(frame.now.devices)
    room = _MAP_LINES if height is None or view.focus != "slots" else height
    if not any(slots.area_used_slots) and view.focus != "slots" and height is not None:
        room = _FREE_LINES
    more = [*_areas(pool, slots, glyphs, width), *_read(frame, view, glyphs)]
    if view.by_age:
        shown = by_age(slots, frame.now.sampled_ns if frame.now.sampled_ns >= 0 else frame.now.time_ns)
        return slot_map.told(shown, Ages(), glyphs, width, max(min(room, height or room), 1), more)
    return slot_map.told(slots, owners, glyphs, width, max(min(room, height or room), 1), more)


def _areas(pool: PoolView, slots: SlotsView, glyphs: Glyphs, width: int) -> list[str]:
    if pool.nareas < 2:
        return []
    head = f"used of {slots.area_nslabs} in each area: "
    return [head + glyphs.shortened(" ".join(map(str, slots.area_used_slots)), max(width - len(head), 1))]


def _read(frame: Frame, view: View, glyphs: Glyphs) -> list[str]:
    """How long ago the slots were read, if that is not now; and what an age is there."""
    since_ns = frame.now.sampled_ns
    if since_ns < 0:
        return []
    age = f" {glyphs.dot} an age is the most it can be: since the look before the first that had it"
    return [f"read {numbers.age(frame.now.time_ns - since_ns)} ago{age if view.by_age else ''}"]


def _looked_at(frame: Frame) -> FailureView | None:
    """The latest failure of which it is known how it stood."""
    return next((failure for failure in frame.now.failures if failure.scene), None)


def _moment(frame: Frame, view: View, glyphs: Glyphs, width: int, height: int | None) -> list[Text]:
    """The pool that came nearest to having a place for it, as it was then."""
    failure = _looked_at(frame)
    if failure is None or failure.scene is None:
        return []
    pool = max(failure.scene.pools, key=lambda pool: pool.longest_free_slots)
    room = _MAP_LINES if height is None else min(height, _MAP_LINES)
    return slot_map.told(pool.slots, Owners(frame.now.devices), glyphs, width, max(room, 1))


def _moment_title(frame: Frame, view: View) -> str:
    failure = _looked_at(frame)
    if failure is None or failure.scene is None:
        return "MOMENT"
    age = numbers.age(frame.now.time_ns - failure.scene.time_ns)
    return f"MOMENT of a failed map, {age} ago: {failure.device} {failure.scene.explanation.sentence}"


def _log(frame: Frame, view: View, glyphs: Glyphs, width: int, height: int | None) -> list[Text]:
    wanted = view.filters.get("log", "")
    matching = [one for one in frame.journal if wanted.casefold() in f"{one.word} {one.sentence}".casefold()]
    entries = matching if height is None else matching[: max(height, 0)]
    if not entries:
        return [Text(f"none match {glyphs.text(wanted)!r}", style=styles.DIM)]
    return [
        Text.assemble(
            (f"{numbers.age(frame.now.time_ns - entry.time_ns):>6} ago  ", styles.DIM),
            (entry.word, styles.WEIGHTS[entry.weight] or styles.LABEL),
            f"  {glyphs.text(entry.sentence)}",
        )
        for entry in entries
    ]


def _slots_title(frame: Frame, view: View) -> str:
    pool = chosen_pool(frame, view)
    shown, other = ("age", "owner") if view.by_age else ("owner", "age")
    return f"SLOTS of pool {pool.start:#x} by {shown} (a: by {other})" if pool else "SLOTS"


def _failures_title(frame: Frame, view: View) -> str:
    found = sum(failure.times for failure in frame.now.failures)
    bursts = ", recorded in bursts" if frame.now.sampled and found else ""
    return f"FAILURES: the latest {found}{bursts}" if found else "FAILURES"


def _no_failure(frame: Frame) -> str:
    """Every call is counted, and live only some are recorded."""
    if frame.now.map_failures > 0:
        return f"{numbers.counted(frame.now.map_failures, 'failed map')} counted, none of them recorded"
    return "no failed map was recorded"


PANELS: Final[dict[str, Panel]] = {
    panel.name: panel
    for panel in (
        Panel(
            "devices",
            lambda frame, view: f"DEVICES {len(frame.now.devices)}" if frame.now.devices else "DEVICES",
            _table("devices", tables.DEVICES),
            lambda frame: bool(frame.now.devices),
            tables.DEVICES,
            nothing=lambda frame: "no device has mapped anything since the start",
        ),
        Panel(
            "pools",
            lambda frame, view: f"POOLS {len(frame.now.pools)}" if frame.now.pools else "POOLS",
            _table("pools", tables.POOLS),
            lambda frame: bool(frame.now.pools),
            tables.POOLS,
            nothing=lambda frame: "no pool is known yet",
        ),
        Panel("slots", _slots_title, _slots, lambda frame: any(pool.slots for pool in frame.now.pools), filtered=False),
        Panel(
            "failures",
            _failures_title,
            _table("failures", tables.FAILURES),
            lambda frame: bool(frame.now.failures),
            tables.FAILURES,
            nothing=_no_failure,
        ),
        Panel(
            "moment",
            _moment_title,
            _moment,
            lambda frame: _looked_at(frame) is not None,
            optional=True,
            filtered=False,
        ),
        Panel(
            "log",
            lambda frame, view: "LOG",
            _log,
            lambda frame: bool(frame.journal),
            least=2,
            nothing=lambda frame: "nothing happened yet",
        ),
    )
}
"""The panels in the order of Tab: the most important first."""

ORDER: Final[Sequence[str]] = tuple(PANELS)
