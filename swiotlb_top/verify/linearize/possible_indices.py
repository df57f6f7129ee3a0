"""Possible values of ``area->index``: where the next search of an area begins.

Linearizations of the same operations leave the same slots free and the same mappings, but not always the same
``index``. Until a search shows which value it is, all remain possible, and what comes next agrees if it agrees with
any of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, product
from typing import Final, NamedTuple, TypeAlias

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Area
from swiotlb_top.verify.operations.slot_search import SlotSearch

MAX_INITIAL_INDICES: Final = 64
"""How many combinations of indices are tried at most for one group."""

IndexAlternatives: TypeAlias = dict[Area, dict[int, bool]]
"""For an area, the values that its ``index`` may have besides the one that the model has.

With each stands whether it is proved: whether a linearization is known that leaves it, or nothing but times is known of
it. A value that is not proved was too expensive to search for.
"""


class InitialIndices(NamedTuple):
    """One combination of indices from which a group of operations may have begun."""

    indices: dict[Area, int]
    proved: bool
    """Whether all of these values are proved."""


def initial_indices(
    alternatives: IndexAlternatives, group: Iterable[Operation], model: Allocator
) -> tuple[list[InitialIndices], bool]:
    """The combinations of indices from which a group may have begun, of the areas that it visits.

    :returns: at most :data:`MAX_INITIAL_INDICES` combinations, and whether these are all. The model's own comes first,
        those that are not proved come last.
    """
    if not alternatives:
        return [InitialIndices({}, proved=True)], True
    visited = {area for operation in group for area in operation.areas(model)}
    areas = [area for area in alternatives if area in visited]
    choices = []
    for pool, area in areas:
        others = sorted(alternatives[pool, area].items(), key=lambda other: (not other[1], other[0]))
        choices.append([(pool.area_index[area], True), *others])
    starts = [
        InitialIndices(
            {area: index for area, (index, _) in zip(areas, chosen, strict=True)}, all(proved for _, proved in chosen)
        )
        for chosen in islice(product(*choices), MAX_INITIAL_INDICES + 1)
    ]
    return sorted(starts[:MAX_INITIAL_INDICES], key=lambda start: not start.proved), len(starts) <= MAX_INITIAL_INDICES


def set_indices(start: InitialIndices) -> None:
    """Let the next search of each area begin there."""
    for (pool, area), index in start.indices.items():
        pool.area_index[area] = index


def alternatives_after(operations: Iterable[Operation]) -> IndexAlternatives:
    """What indices may be after some operations, by their times: each search that may have been the last left its own.

    :returns: only areas for which there is more than one value. All count as proved.
    """
    by_area: dict[Area, list[SlotSearch]] = {}
    for operation in operations:
        if isinstance(operation, SlotSearch) and (area := operation.sets_index_of):
            by_area.setdefault(area, []).append(operation)
    alternatives = {area: {search.next_index: True for search in _may_be_last(here)} for area, here in by_area.items()}
    return {area: indices for area, indices in alternatives.items() if len(indices) > 1}


def _may_be_last(searches: list[SlotSearch]) -> list[SlotSearch]:
    """The searches after whose response no other one was invoked: each of them may have been the last."""
    last_entry_ns = max(search.entry_ns for search in searches)
    return [search for search in searches if search.exit_ns >= last_entry_ns]
