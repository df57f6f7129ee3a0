"""What a group of operations may have left: from where each area is searched next.

One order was found that explains the group; others may leave something else, and what comes later shows which it
was.  So these are looked for, too: from each place the group may have begun from, until nothing is thinkable any
more that was not seen.  That may be too much to look for; what is left then may be, but is not sure.
"""

from __future__ import annotations

from itertools import product

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.linearize.checker import Checker, WantedIndices
from swiotlb_top.verify.linearize.possible_indices import (
    MAX_INITIAL_INDICES,
    IndexAlternatives,
    InitialIndices,
    alternatives_after,
    set_indices,
)
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.slot_search import SlotSearch


class FinalIndices:
    """What was seen to be left, and what might be.

    :param possible: from where the group may have begun; first what the reference has.
    :param uncertain: from where areas may have been searched next besides.
    """

    def __init__(self, group: list[Operation], possible: list[InitialIndices], uncertain: IndexAlternatives) -> None:
        self._group = group
        self._possible = possible
        taken = {(take.pool, take.area) for take in group if isinstance(take, SlotSearch)}
        begun = possible[0].indices
        asked: WantedIndices = {area: {begun[area], *uncertain[area]} for area in begun if area not in taken}
        left: WantedIndices = {area: set(indices) for area, indices in alternatives_after(group).items()}
        self._wanted = asked, left
        self._seen: IndexAlternatives = {area: {} for area in (*begun, *left)}

    @property
    def open(self) -> bool:
        """Whether more is thinkable than was seen."""
        return any(indices for wanted in self._wanted for indices in wanted.values())

    def see(self, *, sure: bool) -> None:
        """An order was carried out: this it leaves."""
        for at, indices in self._seen.items():
            index = at[0].area_index[at[1]]
            indices.setdefault(index, sure)
            for wanted in self._wanted:
                wanted.get(at, set()).discard(index)

    def look_for(self, model: Allocator, budget: int, *, whole: bool, sure: bool) -> int:
        """Try orders, and take them back; how many moves that took.

        :param budget: moves to try at most.
        :param whole: each search for slots is one step.
        :param sure: what an order leaves that begins from a place that is not, too.
        """
        spent = 0
        all_tried = len(self._possible) < MAX_INITIAL_INDICES
        for wanted, start in product(self._wanted, self._possible):
            if not any(wanted.values()):
                continue
            set_indices(start)
            search = Checker(model, self._group, budget - spent, whole=whole, wanted=wanted)
            while any(wanted.values()) and search.run():
                self.see(sure=sure or start.sure)
            search.rewind()
            spent += search.steps
            all_tried &= not search.gave_up
        if not all_tried:
            for wanted in self._wanted:
                for at, indices in wanted.items():
                    self._seen[at] |= dict.fromkeys(indices, False)
        return spent

    def others(self) -> IndexAlternatives:
        """What may be left besides what is; empty for an area that is certain now."""
        return {
            (pool, area): {index: sure for index, sure in indices.items() if index != pool.area_index[area]}
            for (pool, area), indices in self._seen.items()
        }
