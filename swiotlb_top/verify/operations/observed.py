"""What a snapshot of the kernel's memory showed: an area, the list of pools, or an area's first copy.

A snapshot is taken without any lock, some time between two moments. The copy of an area that an operation changed
meanwhile may be torn and proves nothing. So each area is an operation of its own, and it is compared only if no other
operation touched it in that time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from swiotlb_top.allocator import Allocator, Ledger, Pool, Violation, adopt
from swiotlb_top.state import PoolState
from swiotlb_top.verify.operations.base import Undo, no_undo
from swiotlb_top.verify.operations.domains import Domain, areas_of


class ObservedPool:
    """The pool that a snapshot shows. The areas of one pool share it, so that it is made once at most.

    :param state: the pool as it was read.
    """

    __slots__ = ("_pool", "_state")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._pool: Pool | None = None

    def pool(self, model: Allocator) -> Pool:
        """The pool, made when it is first needed. It must not be changed."""
        if self._pool is None:
            self._pool = adopt(self._state, rule=model.revision.rule, check=False).pool
        return self._pool


@dataclass(slots=True, eq=False)
class ObservedArea:
    """One area of a pool, read in the middle of a stream: it must be equal to the model's."""

    entry_ns: int
    exit_ns: int
    state: PoolState
    pool: Pool
    area: int
    snapshot: ObservedPool
    event: ClassVar[None] = None
    unchecked: ClassVar[bool] = False
    compared: ClassVar[bool] = False

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        return None if self._difference() else no_undo

    apply_forced = apply_if_legal

    def adopt_as_is(self, model: Allocator) -> None:
        slots = _slots_of(self.pool, self.area)
        self.pool.take_over(self.snapshot.pool(model), self.area, slots)

    def areas(self, model: Allocator) -> tuple[tuple[Pool, int], ...]:
        return ((self.pool, self.area),)

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        return ()

    def expected(self, model: Allocator) -> str:
        return self._difference()

    def observed(self) -> str:
        return f"the slots of pool {self.state.start:#x} were read"

    def location(self) -> tuple[Pool, int] | None:
        slots = _slots_of(self.pool, self.area)
        return self.pool, next((s for s in slots if self.state.list_[s] != self.pool.free_run(s)), slots[0])

    def missing_slots(self) -> list[int]:
        """Numbers of the slots of its area that are free in the model and in use in the kernel."""
        slots = _mappable_slots(self.pool, self.area)
        return [slot for slot in slots if not self.state.list_[slot] and self.pool.free_run(slot)]

    def _difference(self) -> str:
        """The first difference between the model's area and the kernel's, in words; empty if there is none."""
        state, pool, area = self.state, self.pool, self.area
        kernel = state.areas[area]
        if kernel.used != pool.area_used[area]:
            return f"area {area} with {pool.area_used[area]} used slots, the kernel has {kernel.used}"
        if kernel.index != pool.area_index[area]:
            return f"area {area} to search next from {pool.area_index[area]}, the kernel from {kernel.index}"
        for slot in _slots_of(pool, area):
            own, run = pool.free_run(slot), state.list_[slot]
            if run != own:
                return f"{own} free slots from slot {slot} on, the kernel has {run}"
        return ""


@dataclass(slots=True, eq=False)
class ObservedPoolList:
    """The list of pools, read in the middle of a stream: their addresses, newest first."""

    entry_ns: int
    exit_ns: int
    addresses: tuple[int, ...]
    event: ClassVar[None] = None
    unchecked: ClassVar[bool] = False
    compared: ClassVar[bool] = False

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        known = _addresses(model.pools)
        # The list may have been read long before the pools on it: newer pools may be missing from it.
        return no_undo if self.addresses and self.addresses == known[-len(self.addresses) :] else None

    apply_forced = apply_if_legal

    def adopt_as_is(self, model: Allocator) -> None:
        known = {pool.address: pool for pool in model.pools}
        model.pools = tuple(known[address] for address in self.addresses if address in known)

    def areas(self, model: Allocator) -> tuple[tuple[Pool, int], ...]:
        return ()

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        return ()

    def expected(self, model: Allocator) -> str:
        return f"the list {_in_words(_addresses(model.pools))}"

    def observed(self) -> str:
        return f"the list of pools was read: {_in_words(self.addresses)}"

    def location(self) -> tuple[Pool, int] | None:
        return None


@dataclass(slots=True, eq=False)
class InitialCopy:
    """The copy of a domain from which the judge begins: nothing can be said of this domain before it."""

    entry_ns: int
    exit_ns: int
    domain: Domain
    event: ClassVar[None] = None
    unchecked: ClassVar[bool] = False
    compared: ClassVar[bool] = False

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        return no_undo

    apply_forced = apply_if_legal

    def adopt_as_is(self, model: Allocator) -> None:
        """The model began from it already."""

    def areas(self, model: Allocator) -> Iterator[tuple[Pool, int]]:
        return ((self.domain[0], area) for area in areas_of(self.domain))

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        return ()

    def expected(self, model: Allocator) -> str:
        return "whatever was read"

    def observed(self) -> str:
        return f"the slots of pool {self.domain[0].start:#x} were read"

    def location(self) -> tuple[Pool, int] | None:
        return None


def _mappable_slots(pool: Pool, area: int) -> range:
    """The slots in which a mapping of an area may begin."""
    begin = area * pool.area_nslabs
    return range(begin, begin + pool.area_nslabs)


def _slots_of(pool: Pool, area: int) -> range:
    """The slots of an area. The last area also has those that are left over at the pool's end."""
    own = _mappable_slots(pool, area)
    return range(own.start, pool.nslabs if area == pool.nareas - 1 else own.stop)


def _addresses(pools: Iterable[Pool]) -> tuple[int, ...]:
    return tuple(pool.address for pool in pools)


def _in_words(addresses: tuple[int, ...]) -> str:
    return ", ".join(f"{address:#x}" for address in addresses) or "empty"
