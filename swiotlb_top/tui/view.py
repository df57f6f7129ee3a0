"""What a person has made of the screen: page, focus, selection, order, filter. Pure: a key in, a new view out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from swiotlb_top.accounting.frame import Frame


class Page(Enum):
    """What fills the screen below the overview, or all of it."""

    PANELS = "panels"
    DEVICE = "device"
    FINDINGS = "findings"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Order:
    """Which field a table is sorted by."""

    field: str
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """How a frame is looked at. What belongs to a panel stands under the panel's name."""

    focus: str = "devices"
    page: Page = Page.PANELS
    orders: Mapping[str, Order] = field(default_factory=dict)
    """Panels not in it are in their own order: trouble first."""
    selected: Mapping[str, Hashable] = field(default_factory=dict)
    """Keys of rows; a row keeps its selection wherever it moves to."""
    filter: str = ""
    typing: bool = False
    """Keys go to the filter."""
    scroll: int = 0
    """First line of a page that is longer than the screen."""
    paused: Frame | None = None
    """What is shown instead of the latest frame."""

    def select(self, key: Hashable) -> View:
        """The row of the focused panel with this key."""
        return replace(self, selected={**self.selected, self.focus: key})

    def order(self, order: Order | None) -> View:
        """The focused panel in another order, or in its own."""
        orders = {panel: kept for panel, kept in self.orders.items() if panel != self.focus}
        return replace(self, orders=orders if order is None else {**orders, self.focus: order})


PLAIN: Final = View()
"""As it is before any key."""

Change = Callable[[View, Frame], View]
"""What a key does: the view and the frame on show in, the new view out."""
