"""A map that found slots and failed all the same: ``swiotlb_map()`` releases them if the device cannot reach them.

On kernels before v6.6 ``swiotlb_map()`` may be probed in place of ``swiotlb_tbl_map_single()``, which it calls. Then
the probes see a map that failed, and within it an unmap of something that nobody mapped.
"""

from __future__ import annotations

from dataclasses import replace

from swiotlb_top.allocator import Revision
from swiotlb_top.events import Map
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch


def with_rolled_back_maps(group: list[Operation], revision: Revision) -> list[Operation]:
    """Read failed maps that contain an unmap as searches that found what this unmap released.

    :param group: operations that overlap, sorted by exit.
    :returns: the group with these searches replaced; empty if there are none.
    """
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
    """Whether a map failed, and ``swiotlb_map()`` was probed for it.

    That function has no argument ``alloc_size``; the one that it calls has, on kernels whose revision does not round
    sizes.
    """
    return event.failed and not event.alloc_size_bytes and not revision.rounds_size


def _is_inside(release: Release, search: SlotSearch, event: Map) -> bool:
    """Whether the map made the unmap: on the same CPU, within its interval, for the same device and size."""
    unmap = release.event
    same = (unmap.cpu, unmap.dev, unmap.mapping_size_bytes) == (
        event.cpu,
        event.dev,
        event.mapping_size_bytes,
    )
    return same and search.entry_ns <= release.entry_ns and release.exit_ns <= search.exit_ns
