"""What the user chose: page, focus, selection, order, filter. It is pure: a key and a view give another view."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import FailureView


class Page(Enum):
    """What the screen shows below the overview, or in place of it."""

    PANELS = "panels"
    DEVICE = "device"
    FAILURE = "failure"
    FINDINGS = "findings"
    SIZE = "size"
    HELP = "help"
    SORT = "sort"
    COLUMNS = "columns"


@dataclass(frozen=True, slots=True)
class Order:
    """Which field a table is sorted by."""

    field: str
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """How a frame is shown. What belongs to a panel is kept under the panel's name."""

    focus: str = "devices"
    page: Page = Page.PANELS
    orders: Mapping[str, Order] = field(default_factory=dict)
    """How each panel is sorted. Panels that are not in it have their own order: trouble first."""
    selected: Mapping[str, Hashable] = field(default_factory=dict)
    """Keys of rows; a row keeps its selection wherever it moves to."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """The words that the rows of a panel must have, of panels that are filtered."""
    typing: bool = False
    """Whether what is typed goes to the filter of the focused panel."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The fields that the user chose for a panel. Panels that are not in it have all, as far as these fit."""
    marked: int = 0
    """The line of a menu that the next Enter chooses."""
    kept: str = ""
    """What became of columns and orders that were read or were to be kept, if there is anything to tell."""
    scroll: int = 0
    """The first line that is shown of a page longer than the screen."""
    sized: tuple[str, ...] = ()
    """What the page of sizes says of the recording that is shown, line by line; empty while it is computed."""
    failure: FailureView | None = None
    """The one whose page is open. It stays as it was, however many come after it."""
    minutes: int = 2
    """How far back the charts reach, at most."""
    by_age: bool = False
    """Whether the map of slots shows how old mappings are; else it shows whose they are."""
    paused: Frame | None = None
    """The frame that is shown in place of the latest one; None while the screen follows."""

    def select(self, key: Hashable) -> View:
        """The row of the focused panel with this key."""
        return replace(self, selected={**self.selected, self.focus: key})

    @property
    def filter(self) -> str:
        """Of the focused panel; empty if it has none."""
        return self.filters.get(self.focus, "")

    def with_filter(self, words: str) -> View:
        """The focused panel with this filter, or with none."""
        filters = {panel: kept for panel, kept in self.filters.items() if panel != self.focus}
        return replace(self, filters={**filters, self.focus: words} if words else filters)

    def order(self, order: Order | None) -> View:
        """The focused panel in another order, or in its own."""
        orders = {panel: kept for panel, kept in self.orders.items() if panel != self.focus}
        return replace(self, orders=orders if order is None else {**orders, self.focus: order})


PLAIN: Final = View()
"""The view before any key is pressed."""

Change = Callable[[View, Frame], View]
"""What a key does: from the view and the shown frame to the new view."""
