"""All final states of a group of operations: the values of ``area->index`` that linearizations leave.

One linearization was found. Others leave the same slots free, but may leave another ``index``, and only later
searches show which it was. So the others are searched for, from all initial indices, until every value that times
allow was seen. If the budget does not suffice, values that were not seen remain possible, but they are not proved.
"""

from __future__ import annotations

from itertools import product

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.linearize.checker import Checker
from swiotlb_top.verify.linearize.leaving import WantedIndices
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
    """The final indices of a group: those that a linearization was seen to leave, and those that are wanted.

    :param group: operations that overlap, sorted by response.
    :param starts: the initial indices from which the group may have begun; those of the model come first.
    :param alternatives: values that indices may have had before, besides those of the model.
    """

    def __init__(self, group: list[Operation], starts: list[InitialIndices], alternatives: IndexAlternatives) -> None:
        self._group = group
        self._starts = starts
        searched_areas = {(search.pool, search.area) for search in group if isinstance(search, SlotSearch)}
        begun = starts[0].indices
        unsearched: WantedIndices = {
            area: {begun[area], *alternatives[area]} for area in begun if area not in searched_areas
        }
        searched: WantedIndices = {area: set(indices) for area, indices in alternatives_after(group).items()}
        self._wanted = unsearched, searched
        self._seen: IndexAlternatives = {area: {} for area in (*begun, *searched)}

    @property
    def may_be_more(self) -> bool:
        """Whether values are possible, by the times of the operations, that no linearization was seen to leave."""
        return any(indices for wanted in self._wanted for indices in wanted.values())

    def note(self, *, proved: bool) -> None:
        """Note the indices that are in the pools now: a linearization has just been applied.

        :param proved: whether it begins from indices that are known to be possible.
        """
        for at, indices in self._seen.items():
            index = at[0].area_index[at[1]]
            indices.setdefault(index, proved)
            for wanted in self._wanted:
                wanted.get(at, set()).discard(index)

    def explore(self, model: Allocator, budget: int, *, atomic: bool, proved: bool) -> int:
        """Search for linearizations that leave other indices. The model is restored afterwards.

        :param budget: how many steps to try at most.
        :param atomic: whether each search for slots is one step.
        :param proved: whether final indices count as proved even if they follow from initial ones that are not.
        :returns: how many steps were tried.
        """
        steps = 0
        all_tried = len(self._starts) < MAX_INITIAL_INDICES
        for wanted, start in product(self._wanted, self._starts):
            if not any(wanted.values()):
                continue
            set_indices(start)
            checker = Checker(model, self._group, budget - steps, atomic=atomic, wanted=wanted)
            while any(wanted.values()) and checker.next_linearization():
                self.note(proved=proved or start.proved)
            checker.undo_all()
            steps += checker.steps
            all_tried &= not checker.exhausted
        if not all_tried:
            for wanted in self._wanted:
                for at, indices in wanted.items():
                    self._seen[at] |= dict.fromkeys(indices, False)
        return steps

    def alternatives(self) -> IndexAlternatives:
        """The values that indices may have besides those that they have now; empty for an area that is certain."""
        return {
            (pool, area): {index: proved for index, proved in indices.items() if index != pool.area_index[area]}
            for (pool, area), indices in self._seen.items()
        }
