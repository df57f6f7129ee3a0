"""How old mappings are, as the map of slots shows it: a letter and a colour for each span of time."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.tui.owners import NOBODY, Owner

_BEFORE: Final = 5
_NOT_KNOWN: Final = 6
_UNDER_NS: Final = (10_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000)
_SPANS: Final = (
    Owner("a", "under 10ms", "bright_cyan", "black"),
    Owner("b", "under 1s", "cyan", "black"),
    Owner("c", "under 1m", "bright_blue", "black"),
    Owner("d", "under 1h", "blue", "white"),
    Owner("e", "longer", "magenta", "white"),
    Owner("f", "since before the start", "yellow", "black"),
    replace(NOBODY, name="not known since when"),
)
"""From bright to dark, and another colour for what nobody saw being made."""


class Ages:
    """Gives what has a mapping of :func:`by_age` its letter and colour."""

    def of(self, span: int) -> Owner:
        """The span of time with this number."""
        return _SPANS[span]


def by_age(slots: SlotsView, now_ns: int) -> SlotsView:
    """The same slots, where the mappings belong to a span of time in place of a device."""
    if slots.mappings is None:
        return slots
    made_ns = slots.made_ns or {}
    spans = (_span(made_ns.get(mapping.slot), now_ns) for mapping in slots.mappings)
    return replace(
        slots, mappings=tuple(each._replace(dev=span) for span, each in zip(spans, slots.mappings, strict=True))
    )


def _span(made_ns: int | None, now_ns: int) -> int:
    if made_ns is None:
        return _NOT_KNOWN
    if not made_ns:
        return _BEFORE
    return next((number for number, most_ns in enumerate(_UNDER_NS) if now_ns - made_ns < most_ns), len(_UNDER_NS))
