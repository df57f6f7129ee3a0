"""What can be judged apart: by time, and by area.

Operations that do not overlap are ordered by time, so a stream falls into clusters.  Inside one,
each area has a lock of its own and knows nothing of the others, so that what shares no area can be
ordered for itself (locality, Herlihy & Wing 1990).  A search that asked several areas holds these
together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Domain, touched
from swiotlb_top.verify.operations.intervals import NEVER_NS
from swiotlb_top.verify.operations.pool_add import AddPool


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


def independent_groups(cluster: list[Operation], model: Allocator) -> list[list[Operation]]:
    """Cut a cluster into groups that can be judged one after the other: what overlaps in an area is in
    one group, and what comes later in an area is in no earlier group."""
    if any(isinstance(operation, AddPool) for operation in cluster):
        return [cluster]  # every search reads the list of pools
    users: dict[Domain, list[Operation]] = {}
    for operation in cluster:
        for domain in touched(operation, model):
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
