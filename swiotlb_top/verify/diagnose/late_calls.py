"""Calls that turn up after operations were judged that they may have preceded.

The invocation of some was not seen, and some took so long that the judge did not wait for their response. They are put
in order among the operations that they probably overlap; but they may have taken effect before these.
"""

from __future__ import annotations

from collections.abc import Iterable

from swiotlb_top.allocator import Allocator
from swiotlb_top.events import ENTRY_UNKNOWN
from swiotlb_top.verify.diagnose.unconfirmed import POOL_LIST, Place, UnconfirmedDisagreements
from swiotlb_top.verify.findings import Doubt
from swiotlb_top.verify.linearize.possible_indices import IndexAlternatives
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Area, is_one_domain
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.slot_search import SlotSearch


def places_of(operations: Iterable[Operation], model: Allocator) -> set[Place]:
    """The areas that operations may have read or changed; of a pool that was added, the list of pools.

    :raises TooManyAreasError: the model's patience is over.
    """
    places, areas = set[Place](), set[Area]()
    for operation in operations:
        if isinstance(operation, AddPool):
            places.add(POOL_LIST)
        else:
            areas.update(operation.areas(model))
    # Operations of one group have most areas in common, and one domain may have thousands of them.
    if whole := {pool for pool in {pool for pool, _ in areas} if is_one_domain(pool)}:
        areas = {area for area in areas if area[0] not in whole}
    model.spend(len(areas) + sum(pool.nareas for pool in whole))
    places |= areas
    places.update((pool, area) for pool in whole for area in range(pool.nareas))
    return places


def why_late(operation: Operation) -> Doubt:
    """Why what a late call may explain is inconclusive."""
    return Doubt.UNSEEN_ENTRY if operation.event and operation.event[0] == ENTRY_UNKNOWN else Doubt.LATE


class LateCalls:
    """The late calls that are not judged yet.

    :param unconfirmed: the disagreements that they may explain.
    """

    def __init__(self, unconfirmed: UnconfirmedDisagreements) -> None:
        self._unconfirmed = unconfirmed
        self._calls: set[Operation] = set()
        self._indices: dict[Area, int] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def __contains__(self, operation: Operation) -> bool:
        return operation in self._calls

    def add(self, operation: Operation) -> None:
        """A late call turned up."""
        self._calls.add(operation)

    def clear(self) -> None:
        """Forget all of them: they will not be judged."""
        self._calls.clear()

    def before(self, cluster: list[Operation]) -> None:
        """Note the state of the areas in which late calls of a cluster took slots. The cluster is judged next."""
        late = (one for one in cluster if one in self._calls and isinstance(one, SlotSearch))
        areas = [area for one in late if (area := one.sets_index_of)]
        self._indices = {(pool, area): pool.area_index[area] for pool, area in areas}

    def after(self, cluster: list[Operation], model: Allocator) -> IndexAlternatives:
        """Withdraw the disagreements that late calls of a cluster may explain. The cluster has just been judged.

        :returns: values that ``area->index`` may have because a late call may have taken effect earlier.
        """
        alternatives: IndexAlternatives = {}
        taken: dict[Area, list[SlotSearch]] = {area: [] for area in self._indices}
        for one in cluster:
            if isinstance(one, SlotSearch) and one.pool and (one.pool, one.area) in taken:
                taken[one.pool, one.area].append(one)
        left = {area: {one.next_index: True for one in here} for area, here in taken.items()}
        last_entry_ns = {area: max((one.entry_ns for one in here), default=0) for area, here in taken.items()}
        for operation in cluster:
            if operation not in self._calls:
                continue
            self._calls.discard(operation)
            self._unconfirmed.withdraw(why_late(operation), places_of([operation], model), operation.exit_ns)
            if isinstance(operation, SlotSearch) and operation.pool:
                area = operation.pool, operation.area
                if area in taken and last_entry_ns[area] <= operation.exit_ns:
                    alternatives.setdefault(area, {self._indices[area]: True} | left[area])
        return alternatives
