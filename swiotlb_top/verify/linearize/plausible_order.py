"""An order for operations of which no linearization is known.

The judge needs one if it goes on after a group that it cannot explain, and to bring a torn snapshot up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Final, TypeAlias

from swiotlb_top.allocator import Mapping, Pool
from swiotlb_top.constants import SLOT_SET_SHIFT
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch

_MAX_CONSIDERED: Final = 512
"""How many releases in a slot set (128 slots) are considered at most for one search: those that responded first."""
_MIN_CONSIDERED: Final = 128
"""How many are in a group of any size: a slot set has no more mappings at a time."""
_MAX_CONSIDERED_IN_ALL: Final = 1 << 22
"""How many releases are considered for all searches of a group, as far as these two numbers allow."""

_PendingReleases: TypeAlias = dict[tuple[Pool, int], dict[Release, None]]
"""Releases that were not yielded yet, by pool and slot set, sorted by response."""


def plausible_order(
    group: list[Operation], surely_live: Callable[[Pool, Mapping], bool] = lambda pool, mapping: True
) -> Iterator[Operation]:
    """An order for operations that are not proved to have one.

    It is the order of their responses, but new pools come first, and slots that a search found are released before.
    The caller must apply each operation before it asks for the next: which mappings have a search's slots is looked up
    when its turn comes.

    :param group: operations that overlap, sorted by response.
    :param surely_live: whether a mapping was certainly in use before the group, if it is in use now and no operation of
        the group made or released it so far.
    """
    yield from (operation for operation in group if isinstance(operation, AddPool))
    most = min(max(_MAX_CONSIDERED_IN_ALL // (len(group) or 1), _MIN_CONSIDERED), _MAX_CONSIDERED)
    pending: _PendingReleases = {}
    for operation in group:
        if isinstance(operation, Release):
            pending.setdefault(operation.slot_set, {})[operation] = None
    for operation in group:
        if isinstance(operation, SlotSearch):
            for release in _releases_in_the_way(operation, pending, surely_live, most):
                del pending[release.slot_set][release]
                yield release
            yield operation
        elif isinstance(operation, Release) and operation in pending[operation.slot_set]:
            del pending[operation.slot_set][operation]
            yield operation


def _releases_in_the_way(
    search: SlotSearch, pending: _PendingReleases, surely_live: Callable[[Pool, Mapping], bool], most: int
) -> Collection[Release]:
    """For each mapping that has slots of a search now, a pending release of it that may have come before.

    Other releases at the same place release mappings that are yet to come. A release whose invocation was not seen
    and that responded after the search may release what this search found. It is chosen only if no other release can
    be, and the mapping must have been released.

    :param most: how many releases in a slot set to consider.
    """
    chosen: dict[Mapping, Release] = {}
    pool = search.pool
    if pool is None or search.slot < 0:
        return ()
    sets = {search.slot >> SLOT_SET_SHIFT, (search.slot + search.nslots - 1) >> SLOT_SET_SHIFT}
    near = [release for at in sorted(sets) for release in islice(pending.get((pool, at), ()), most)]
    begun = [release for release in near if release.entry_ns <= search.exit_ns]
    for release in sorted(begun, key=lambda release: _may_come_after(release, search)):
        mapping = release.mapping_at_address()
        if (
            mapping is None
            or search.slot >= mapping.slot + mapping.nslots
            or mapping.slot >= search.slot + search.nslots
        ):
            continue
        if not _may_come_after(release, search) or surely_live(release.pool, mapping):
            chosen.setdefault(mapping, release)
    return chosen.values()


def _may_come_after(release: Release, search: SlotSearch) -> bool:
    return release.entry_unseen and release.exit_ns > search.exit_ns
