"""Which areas a search asks, in turn: what is known of it before it is known which were full.

A search goes round the pools, and reads the list of them anew as each round begins
(:mod:`swiotlb_top.allocator.order`).  Between two rounds a pool may have come, so that its way is
told by the CPU it began on and by the list that each of its rounds went by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from swiotlb_top.allocator import Allocator, Pool
from swiotlb_top.verify.operations import Take

Lists: TypeAlias = tuple[tuple[Pool, ...], ...]
"""The list of pools that each round so far went by."""


class Way(NamedTuple):
    """Areas a search asks, until it comes to its target or to the end of its rounds."""

    areas: tuple[tuple[Pool, int], ...]
    """Those before the target."""
    reaches: bool
    """It comes to the target."""
    whole: bool
    """There is no further round."""


class _NextRound(Exception):  # noqa: N818 (nothing went wrong)
    """The order wants to know the list of a round that has not begun."""


class _Turns:
    """An allocator as a search order sees it, with another list of pools in each round."""

    def __init__(self, world: Allocator, lists: Lists) -> None:
        self.default_nareas = world.default_nareas
        self._lists = iter(lists)

    @property
    def pools(self) -> tuple[Pool, ...]:
        for pools in self._lists:
            return pools
        raise _NextRound


def way(world: Allocator, take: Take, cpu: int, lists: Lists) -> Way:
    """The way of a search that began on ``cpu``, and whose rounds so far went by ``lists``."""
    areas: list[tuple[Pool, int]] = []
    if take.refused(world):
        return Way((), reaches=False, whole=True)
    target = (take.pool, take.area)
    try:
        for area in _order(world, cpu, lists):
            if area == target:
                return Way(tuple(areas), reaches=True, whole=True)
            areas.append(area)
    except _NextRound:
        return Way(tuple(areas), reaches=False, whole=False)
    return Way(tuple(areas), reaches=False, whole=True)


def _order(world: Allocator, cpu: int, lists: Lists) -> Iterator[tuple[Pool, int]]:
    revision = world.revision
    return (revision.order if world.dynamic else revision.static_order)(_Turns(world, lists), cpu)
