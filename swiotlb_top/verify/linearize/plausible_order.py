"""An order for operations that are not proved to have one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Final, TypeAlias

from swiotlb_top.allocator import Mapping, Pool
from swiotlb_top.allocator.geometry import SLOT_SET_SHIFT
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch

_MOST_WAITING: Final = 512
"""Releases in a slot set that are looked at for a search to have room there: those that end first. It has 128 slots."""

_Waiting: TypeAlias = dict[tuple[Pool, int], dict[Release, None]]
"""Releases that are not done yet, by pool and slot set, as they ended."""


def plausible_order(
    group: list[Operation], sure: Callable[[Pool, Mapping], bool] = lambda pool, mapping: True
) -> Iterator[Operation]:
    """An order for what is not proved to have one: as they ended, but new pools first, and what a release
    freed is free before it is taken.

    To be carried out while it is read: which mapping is in the way is looked up when its turn comes.

    :param sure: whether a mapping was in use before the group if it is in use now, and neither found by one of
        the group nor released.
    """
    yield from (operation for operation in group if isinstance(operation, AddPool))
    waiting: _Waiting = {}
    for operation in group:
        if isinstance(operation, Release):
            waiting.setdefault(operation.slot_set, {})[operation] = None
    for operation in group:
        if isinstance(operation, SlotSearch):
            for release in _making_room(operation, waiting, sure):
                del waiting[release.slot_set][release]
                yield release
            yield operation
        elif isinstance(operation, Release) and operation in waiting[operation.slot_set]:
            del waiting[operation.slot_set][operation]
            yield operation


def _making_room(take: SlotSearch, waiting: _Waiting, sure: Callable[[Pool, Mapping], bool]) -> Collection[Release]:
    """For each mapping that is in the way of a search's slots now, a release of it that was under way: the rest
    is of mappings to come.

    What was not seen to begin, and ended later than the search, may be of what that found; it is taken where
    the mapping must have gone and nothing else released it.
    """
    room: dict[Mapping, Release] = {}
    pool = take.pool
    if pool is None or take.slot < 0:
        return ()
    sets = {take.slot >> SLOT_SET_SHIFT, (take.slot + take.nslots - 1) >> SLOT_SET_SHIFT}
    near = [release for at in sorted(sets) for release in islice(waiting.get((pool, at), ()), _MOST_WAITING)]
    for release in sorted(near, key=lambda release: _may_be_later(release, take)):
        mapping = release.mapping_at_address() if release.entry_ns <= take.exit_ns else None
        if mapping is None or take.slot >= mapping.slot + mapping.nslots or mapping.slot >= take.slot + take.nslots:
            continue
        if not _may_be_later(release, take) or sure(release.pool, mapping):
            room.setdefault(mapping, release)
    return room.values()


def _may_be_later(release: Release, take: SlotSearch) -> bool:
    return release.entry_unseen and release.exit_ns > take.exit_ns
