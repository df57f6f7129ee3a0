"""What can be judged apart: by time, and by area.

Operations that do not overlap are ordered by time, so a stream falls into clusters.  Inside one,
each area has a lock of its own and knows nothing of the others, so that what shares no area can be
ordered for itself (locality, Herlihy & Wing 1990).  A search that asked several areas holds these
together.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from itertools import accumulate, pairwise
from typing import Final, TypeAlias

from swiotlb_top.allocator import Allocator, Pool
from swiotlb_top.allocator.geometry import IO_TLB_SEGSIZE
from swiotlb_top.verify.add_pool import AddPool
from swiotlb_top.verify.operation import Operation

NEVER_NS: Final = 1 << 64
_WHOLE: Final = -1

Domain: TypeAlias = tuple[Pool, int]
"""A pool and an area of it: what one history is of. The area is -1, and all of the pool is one
domain, where areas are no whole slot sets: a mapping may reach from one into the next there."""


def domain_of(pool: Pool, area: int) -> Domain:
    """The domain an area belongs to."""
    return pool, _WHOLE if pool.area_nslabs % IO_TLB_SEGSIZE else area


def areas_of(domain: Domain) -> range:
    """The areas of a domain."""
    pool, area = domain
    return range(pool.nareas) if area == _WHOLE else range(area, area + 1)


def domains_of(pool: Pool) -> Iterator[Domain]:
    """The domains a pool falls into."""
    return iter(dict.fromkeys(domain_of(pool, area) for area in range(pool.nareas)))


def touched(operation: Operation, world: Allocator) -> KeysView[Domain]:
    """The domains an operation may have read or changed, in the order it asks them: a set's order, which is of
    addresses, would be another in each process."""
    return dict.fromkeys(domain_of(*area) for area in operation.areas(world)).keys()


def clusters(operations: list[Operation], before_ns: int) -> Iterator[list[Operation]]:
    """Cut operations, sorted by exit, into runs that overlap nothing outside.

    Only clusters that are over by ``before_ns`` are given, oldest first: a later one may still grow.
    """
    # Of each place, the earliest entry from there on, and of its end, what may still come.
    entries = accumulate([operation.entry_ns for operation in reversed(operations)], min, initial=before_ns)
    earliest = list(entries)[::-1]
    begin = 0
    for end, operation in enumerate(operations, 1):
        if operation.exit_ns < earliest[end]:
            yield operations[begin:end]
            begin = end


def apart(cluster: list[Operation], world: Allocator) -> list[list[Operation]]:
    """Cut a cluster into groups that can be judged one after the other: what overlaps in an area is in
    one group, and what comes later in an area is in no earlier group."""
    if any(isinstance(operation, AddPool) for operation in cluster):
        return [cluster]  # every search reads the list of pools
    users: dict[Domain, list[Operation]] = {}
    for operation in cluster:
        for domain in touched(operation, world):
            users.setdefault(domain, []).append(operation)
    groups = _Groups(cluster)
    for operations in users.values():
        for together in clusters(operations, NEVER_NS):
            for operation in together:
                groups.join(together[0], operation)
    joined = True
    while joined:
        joined = False
        for operations in users.values():
            for earlier, later in pairwise(operations):
                if groups.number(earlier) > groups.number(later):
                    joined = groups.join(earlier, later)
    return groups.in_order()


class _Groups:
    """Disjoint sets of operations. A group has the number of its member that ended first."""

    def __init__(self, cluster: list[Operation]) -> None:
        self._cluster = cluster
        self._place = {operation: at for at, operation in enumerate(cluster)}
        self._towards = list(range(len(cluster)))

    def number(self, operation: Operation) -> int:
        towards, at = self._towards, self._place[operation]
        while towards[at] != at:
            towards[at] = at = towards[towards[at]]
        return at

    def join(self, one: Operation, other: Operation) -> bool:
        """Make two groups one; whether they were two."""
        low, high = sorted((self.number(one), self.number(other)))
        self._towards[high] = low
        return low != high

    def in_order(self) -> list[list[Operation]]:
        members: dict[int, list[Operation]] = {}
        for operation in self._cluster:
            members.setdefault(self.number(operation), []).append(operation)
        return list(members.values())
