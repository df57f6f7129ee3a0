"""Which values of ``area->index`` the operations of a group can still leave, while an order of them is put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Area
from swiotlb_top.verify.operations.slot_search import SlotSearch

WantedIndices: TypeAlias = dict[Area, set[int]]
"""For an area, values of ``index`` that a linearization should leave there."""


class Leaving:
    """Counts, for each area, the searches that are yet to be applied, by the ``index`` that they leave.

    Operations are meant by their index in the group.

    :param group: operations that overlap; none of them has been applied.
    """

    def __init__(self, group: Sequence[Operation]) -> None:
        self._left_by: list[tuple[Area, int] | None] = [None] * len(group)
        self._to_come: dict[Area, Counter[int]] = {}
        for at, search in enumerate(group):
            if isinstance(search, SlotSearch) and (area := search.sets_index_of):
                self._left_by[at] = area, search.next_index
                self._to_come.setdefault(area, Counter())[search.next_index] += 1
        self.areas = tuple(self._to_come)
        """The areas in which searches of the group take slots."""
        self._searches = {area: counts.total() for area, counts in self._to_come.items()}

    def applied(self, at: int) -> None:
        """An operation was applied."""
        if left := self._left_by[at]:
            area, index = left
            self._to_come[area][index] -= 1
            self._searches[area] -= 1

    def taken_back(self, at: int) -> None:
        """An operation that was applied was taken back."""
        if left := self._left_by[at]:
            area, index = left
            self._to_come[area][index] += 1
            self._searches[area] += 1

    def can_leave(self, wanted: WantedIndices) -> bool:
        """Whether a wanted value can still be left: the search that leaves it is yet to come, or was the last."""
        for area, indices in wanted.items():
            if self._searches.get(area, 0):
                to_come = self._to_come[area]
                if any(to_come[index] for index in indices):
                    return True
            elif area[0].area_index[area[1]] in indices:
                return True
        return False
