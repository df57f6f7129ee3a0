"""Independent sub-histories: a history is cut by time, then by area.

Operations that do not overlap are ordered by their times. So a history can be cut wherever no call is pending, into
clusters. Inside a cluster, operations that share no area can be ordered separately (locality, see
:mod:`swiotlb_top.verify.operations.domains`; checkers call it P-compositionality). A search that visited several areas
ties these together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Protocol, TypeVar

from swiotlb_top.allocator import Allocator
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Domain, touched
from swiotlb_top.verify.operations.intervals import NEVER_NS
from swiotlb_top.verify.operations.pool_add import AddPool


class Timed(Protocol):
    """Something that took effect between two times."""

    @property
    def entry_ns(self) -> int: ...
    @property
    def exit_ns(self) -> int: ...


T = TypeVar("T", bound=Timed)


def clusters(operations: list[T], before_ns: int) -> Iterator[list[T]]:
    """Cut a history into clusters: runs of operations that overlap no operation outside.

    :param operations: sorted by response.
    :param before_ns: the earliest invocation that may still come, in nanoseconds.
    :returns: the clusters that ended before it, the oldest first. A later one may still grow.
    """
    # For each place in the history, the earliest invocation from there on.
    entries = accumulate([operation.entry_ns for operation in reversed(operations)], min, initial=before_ns)
    earliest = list(entries)[::-1]
    begin = 0
    for end, operation in enumerate(operations, 1):
        if operation.exit_ns < earliest[end]:
            yield operations[begin:end]
            begin = end


def independent_groups(cluster: list[Operation], model: Allocator) -> list[list[Operation]]:
    """Cut a cluster into groups that can be judged one after the other.

    Operations that overlap in an area are in one group, and an operation that comes later in an area is in no earlier
    group.

    :param cluster: operations sorted by response.
    :returns: the groups, each sorted by response.
    """
    if any(isinstance(operation, AddPool) for operation in cluster):
        return [cluster]  # every search reads the list of pools, so that nothing is independent
    users: dict[Domain, list[Operation]] = {}
    for operation in cluster:
        for domain in touched(operation, model):
            users.setdefault(domain, []).append(operation)
    groups = _Groups(cluster)
    for operations in users.values():
        for together in clusters(operations, NEVER_NS):
            for operation in together:
                groups.join(together[0], operation)
    while sum(groups.join_the_reversed(operations) for operations in users.values()):
        pass  # what was made one may now come before another
    return groups.in_order()


class _Groups:
    """Disjoint sets of operations (union-find). The number of a group is that of its member that responded first."""

    def __init__(self, cluster: list[Operation]) -> None:
        self._cluster = cluster
        self._place = {operation: at for at, operation in enumerate(cluster)}
        self._towards = list(range(len(cluster)))

    def number(self, operation: Operation) -> int:
        """The number of the group that an operation is in."""
        towards, at = self._towards, self._place[operation]
        while towards[at] != at:
            towards[at] = at = towards[towards[at]]
        return at

    def join(self, one: Operation, other: Operation) -> bool:
        """Make the groups of two operations one.

        :returns: whether they were two.
        """
        low, high = sorted((self.number(one), self.number(other)))
        self._towards[high] = low
        return low != high

    def join_the_reversed(self, operations: list[Operation]) -> bool:
        """Make one the groups of neighbours in an area where that of the later comes before that of the earlier.

        :returns: whether there were such.
        """
        joined = False
        # From the last on: what is joined has a lower number now, and those before it are compared with that.
        for later, earlier in pairwise(reversed(operations)):
            if self.number(earlier) > self.number(later):
                joined = self.join(earlier, later)
        return joined

    def in_order(self) -> list[list[Operation]]:
        """The groups, by their numbers."""
        members: dict[int, list[Operation]] = {}
        for operation in self._cluster:
            members.setdefault(self.number(operation), []).append(operation)
        return list(members.values())
