"""How old mappings are at most, of slots that are read now and then: since the look before the first that had them.

The kernel does not note when a mapping was made. One that is in the same slots for the same buffer at each look is
taken for one and the same, which may be younger than that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from swiotlb_top.accounting.slots import SlotsView

_Place: TypeAlias = tuple[int, int, int, int]
"""Where a pool begins, a mapping's first slot in it and how many it has, and the address of its buffer."""


class Sightings:
    """Remembers since when each mapping is there."""

    def __init__(self) -> None:
        self._since_ns: dict[_Place, int] = {}
        self._looked_ns = 0
        """When the last look was; 0 before the first."""

    def seen(self, pools: Iterable[tuple[int, SlotsView]], now_ns: int) -> list[SlotsView]:
        """The slots of all pools as they are now, each with the start of its pool; with the ages of mappings."""
        since_ns: dict[_Place, int] = {}
        dated = []
        for start, slots in pools:
            made_ns = {}
            for mapping in slots.mappings or ():
                place = start, mapping.slot, mapping.nslots, mapping.orig_addr
                made_ns[mapping.slot] = since_ns[place] = self._since_ns.get(place, self._looked_ns)
            dated.append(replace(slots, made_ns=made_ns))
        self._since_ns, self._looked_ns = since_ns, now_ns
        return dated
