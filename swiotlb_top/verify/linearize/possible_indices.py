"""From where an area is searched next, while that cannot be told.

Orders that explain the same overlapping operations leave the same slots free and the same mappings,
but not always the same ``index`` of an area.  Until a search shows which it is, each stays possible,
and what comes next is explained if it is from any of them.
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
"""Combinations tried together."""

IndexAlternatives: TypeAlias = dict[Area, dict[int, bool]]
"""For a pool's area, ``index`` values it may have as well as the one it has; of each, whether that is sure: whether
an order of what happened is known that leaves it, or times tell no more. What is not was too much to look for."""


class InitialIndices(NamedTuple):
    """Where a group of operations may have begun from."""

    indices: dict[Area, int]
    sure: bool
    """Each of these may be."""


def initial_indices(
    uncertain: IndexAlternatives, group: Iterable[Operation], model: Allocator
) -> tuple[list[InitialIndices], bool]:
    """What a group may have begun from, of the areas it asks: first what the reference has, last what is not sure.

    :returns: at most :data:`MOST_STARTS`, and whether these are all.
    """
    if not uncertain:
        return [InitialIndices({}, sure=True)], True
    asked = {area for operation in group for area in operation.areas(model)}
    areas = [area for area in uncertain if area in asked]
    choices = []
    for pool, area in areas:
        others = sorted(uncertain[pool, area].items(), key=lambda other: (not other[1], other[0]))
        choices.append([(pool.area_index[area], True), *others])
    possible = [
        InitialIndices(
            {area: index for area, (index, _) in zip(areas, chosen, strict=True)}, all(sure for _, sure in chosen)
        )
        for chosen in islice(product(*choices), MAX_INITIAL_INDICES + 1)
    ]
    return sorted(possible[:MAX_INITIAL_INDICES], key=lambda start: not start.sure), len(
        possible
    ) <= MAX_INITIAL_INDICES


def set_indices(start: InitialIndices) -> None:
    """Let areas be searched next from there."""
    for (pool, area), index in start.indices.items():
        pool.area_index[area] = index


def alternatives_after(operations: Iterable[Operation]) -> IndexAlternatives:
    """Where areas may be searched next, as far as times tell: after each search that may have been the last."""
    by_area: dict[Area, list[SlotSearch]] = {}
    for operation in operations:
        if isinstance(operation, SlotSearch) and operation.pool is not None and operation.slot >= 0:
            by_area.setdefault((operation.pool, operation.area), []).append(operation)
    uncertain = {area: {take.next_index: True for take in _may_be_last(here)} for area, here in by_area.items()}
    return {area: indices for area, indices in uncertain.items() if len(indices) > 1}


def _may_be_last(takes: list[SlotSearch]) -> list[SlotSearch]:
    """Those that nothing was certain to follow: where one of them ended, the next search goes on."""
    last_entry_ns = max(take.entry_ns for take in takes)
    return [take for take in takes if take.exit_ns >= last_entry_ns]
