"""A map that found slots, and failed all the same: ``swiotlb_map()`` gives them back if the device cannot reach them.

Before 6.6 that function may be probed in place of ``swiotlb_tbl_map_single()``, which it calls. Then a map is seen that
failed, and in the middle of it the unmap of what nobody mapped.
"""

from __future__ import annotations

from dataclasses import replace

from swiotlb_top.allocator import Revision
from swiotlb_top.events import Map
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch


def with_rolled_back_maps(group: list[Operation], revision: Revision) -> list[Operation]:
    """The group, in which maps that may have given back what they found are searches that found it; empty if there
    are none."""
    releases = [operation for operation in group if isinstance(operation, Release)]
    found: dict[Operation, Operation] = {}
    for search in group:
        if isinstance(search, SlotSearch) and isinstance(search.event, Map) and _stands_in(search.event, revision):
            release = next(
                (release for release in releases if _is_inside(release, search, search.event)),
                None,
            )
            if release is not None:
                releases.remove(release)
                found[search] = replace(
                    search,
                    pool=release.pool,
                    slot=release.slot,
                    tlb_addr=release.tlb_addr,
                )
    return [found.get(operation, operation) for operation in group] if found else []


def _stands_in(event: Map, revision: Revision) -> bool:
    """Whether it is a failed map of a function that is not told how much to allocate, on a kernel where the function
    that it calls is."""
    return event.failed and not event.alloc_size_bytes and not revision.rounds_size


def _is_inside(release: Release, search: SlotSearch, event: Map) -> bool:
    """Whether one call made the other: on its CPU, in its time, for the same buffer."""
    unmap = release.event
    same = (unmap.cpu, unmap.dev, unmap.mapping_size_bytes) == (
        event.cpu,
        event.dev,
        event.mapping_size_bytes,
    )
    return same and search.entry_ns <= release.entry_ns and release.exit_ns <= search.exit_ns
