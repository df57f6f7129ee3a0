"""What the judge puts in order: events, turned into operations on the reference.

An operation has a closed interval and an effect. ``attempt`` does it if the reference, in the
state it is in, would have done the same as the kernel, and returns how to take it back; ``adopt``
does what the kernel did, whatever the reference thinks of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from swiotlb_top.allocator import Allocator, Ledger, Pool, Request, Violation, adopt, grow_sizes, tlb_addr
from swiotlb_top.allocator.geometry import MAX_ALLOC_BYTES, nr_slots
from swiotlb_top.allocator.pool import Mapping
from swiotlb_top.events import NOT_FOUND, Event, Grow, PoolAdd
from swiotlb_top.state import PoolState

ADDRESS_UNSEEN: Final = -1
LONGEST_UNSEEN_NS: Final = 10_000_000
"""How long an operation whose entry was not seen is supposed to have taken at most."""

Undo = Callable[[], None]


def _nothing() -> None:
    """Undo of what changed nothing."""


class Operation(Protocol):
    """One operation on the allocator, between two times."""

    compared: ClassVar[bool]
    """Whether it counts as an operation put to the reference: a mapping or a release."""

    @property
    def entry_ns(self) -> int: ...
    @property
    def exit_ns(self) -> int: ...
    @property
    def event(self) -> Event | None: ...

    def attempt(self, world: Allocator) -> Undo | None:
        """Do it as the kernel did if the reference agrees; None, and nothing changed, if not."""

    def adopt(self, world: Allocator) -> None:
        """Do as the kernel did."""

    def enter(self, ledger: Ledger) -> tuple[Violation, ...]:
        """Keep the books that know nothing of policy; what is wrong by them."""

    def expected(self, world: Allocator) -> str:
        """What the reference would have done now, in words."""

    def observed(self) -> str:
        """What the kernel did, in words."""

    def where(self) -> tuple[Pool, int] | None:
        """A pool and slot to draw a picture around."""


# Not frozen, and the next neither: each field set would cost a call, once an operation.
@dataclass(slots=True, eq=False)
class Take:
    """A search for slots. ``slot`` is -1 where it failed; ``pool`` is then the transient pool
    that was had in vain, if one was. Else ``pool`` is None where nobody announced it."""

    event: Event
    entry_ns: int
    exit_ns: int
    cpu: int
    dev: int
    request: Request
    pool: Pool | None
    slot: int
    tlb_addr: int = ADDRESS_UNSEEN
    """What the map returned, where the probe sees that."""
    compared: ClassVar[bool] = True

    @property
    def area(self) -> int:
        return self.slot // self.pool.area_nslabs if self.pool else NOT_FOUND

    def listed(self, world: Allocator) -> bool:
        """Whether the slots came from a pool on the allocator's list."""
        return self.slot >= 0 and self.pool in world.pools

    def attempt(self, world: Allocator) -> Undo | None:
        found = world.find_slots(self.cpu, self.request)
        if found is None:
            return self.attempt_beyond_pools(world)
        pool, slot = found
        if pool is not self.pool or slot != self.slot:
            return None
        if self.tlb_addr not in (ADDRESS_UNSEEN, tlb_addr(pool.start, slot, self.request)):
            return None
        undo = pool.take(slot, self.request, self.dev)
        return lambda: pool.undo(undo)

    def attempt_beyond_pools(self, world: Allocator) -> Undo | None:
        """The listed pools have no room: a transient pool, or failure (``swiotlb_find_slots()``)."""
        grows = world.can_grow and self.request.alloc_size_bytes <= MAX_ALLOC_BYTES
        pool = self.pool
        if pool is None:
            return _nothing if self.slot < 0 else None
        if not grows or pool in world.pools or pool.nslabs != nr_slots(self.request.alloc_size_bytes):
            return None
        if pool.nareas != 1 or pool.search(0, self.request) != self.slot:
            return None
        if self.slot < 0:
            return _nothing
        undo = pool.take(self.slot, self.request, self.dev)
        world.add_transient(self.dev, pool)

        def back() -> None:
            world.delete_transient(self.dev, pool)
            pool.undo(undo)

        return back

    def adopt(self, world: Allocator) -> None:
        if self.pool is None or self.slot < 0:
            return
        if 0 <= self.slot < self.pool.nslabs:
            self.pool.force(self.slot, self.request, self.dev)
        if self.pool not in world.pools and self.pool not in world.transient.get(self.dev, ()):
            world.add_transient(self.dev, self.pool)

    def enter(self, ledger: Ledger) -> tuple[Violation, ...]:
        pool = self.pool
        if pool is None or self.slot < 0:
            return ()
        if pool.transient:
            ledger.add_pool(pool.address, pool.start, pool.nslabs)
        return ledger.mapped(pool.address, self.slot, self.request)

    def hold_passed_over(self, world: Allocator) -> None:
        """After a disagreement: what the reference would have taken is not free in the kernel, or so it seems.

        Left free it would be found again by every search to come, and one fault reported as many. Held
        wrongly it costs one report more: the kernel takes it, and it is the kernel's. Where the reference
        does not even think the kernel's own slots free, the fault is there, and nothing was passed over.
        """
        found = world.find_slots(self.cpu, self.request)
        if found and self._could_be(nr_slots(self.request.alloc_size_bytes)):
            found.pool.take(found.slot, self.request, self.dev)

    def _could_be(self, nslots: int) -> bool:
        pool = self.pool
        if pool is None or self.slot < 0:
            return True
        return self.slot < pool.nslabs and pool.free_run(self.slot) >= nslots

    def expected(self, world: Allocator) -> str:
        found = world.find_slots(self.cpu, self.request)
        if found:
            return f"slot {found.slot} of pool {found.pool.start:#x} (area {found.slot // found.pool.area_nslabs})"
        grows = world.can_grow and self.request.alloc_size_bytes <= MAX_ALLOC_BYTES
        return "no pool has room: a transient pool, or failure" if grows else "no pool has room: failure"

    def observed(self) -> str:
        size_bytes = self.request.alloc_size_bytes
        size = f"{nr_slots(size_bytes)} slots ({size_bytes} bytes) on CPU {self.cpu}"
        if self.slot < 0:
            return f"{size}: failed"
        if self.pool is None:
            return f"{size}: slot {self.slot} of a pool nobody announced"
        kind = "transient pool" if self.pool.transient else "pool"
        return f"{size}: slot {self.slot} of {kind} {self.pool.start:#x}"

    def where(self) -> tuple[Pool, int] | None:
        return (self.pool, self.slot) if self.pool and 0 <= self.slot < self.pool.nslabs else None


@dataclass(slots=True, eq=False)
class Release:
    """A mapping's end (``swiotlb_release_slots()``, or a transient pool's with it)."""

    event: Event
    entry_ns: int
    exit_ns: int
    dev: int
    pool: Pool
    tlb_addr: int
    min_align_mask: int
    compared: ClassVar[bool] = True

    def attempt(self, world: Allocator) -> Undo | None:
        pool = self.pool
        mapping = pool.find_mapping(self.tlb_addr, self.min_align_mask)
        if mapping is None:
            return None
        if pool in world.pools:
            undo = pool.release(mapping)
            return lambda: pool.undo(undo)
        if pool not in world.transient.get(self.dev, ()):
            return None
        world.delete_transient(self.dev, pool)
        return lambda: world.add_transient(self.dev, pool)

    def adopt(self, world: Allocator) -> None:
        mapping = self._around()
        if mapping and self.pool in world.pools:
            self.pool.release(mapping)
        elif self.pool in world.transient.get(self.dev, ()):
            world.delete_transient(self.dev, self.pool)

    def enter(self, ledger: Ledger) -> tuple[Violation, ...]:
        pool = self.pool
        violations = ledger.released(pool.address, self.tlb_addr, self.min_align_mask)
        if pool.transient:
            ledger.remove_pool(pool.address)
        return violations

    def expected(self, world: Allocator) -> str:
        return f"a mapping at {self.tlb_addr:#x}: the reference has none that begins there"

    def observed(self) -> str:
        return f"release of {self.tlb_addr:#x} in pool {self.pool.start:#x}"

    def where(self) -> tuple[Pool, int] | None:
        slot = (self.tlb_addr - self.pool.start) >> 11
        return (self.pool, slot) if 0 <= slot < self.pool.nslabs else None

    def _around(self) -> Mapping | None:
        place = self.where()
        found = self.pool.find_mapping(self.tlb_addr, self.min_align_mask)
        if found or not place:
            return found
        slot = place[1]
        return next((m for m in self.pool.mappings() if m.slot <= slot < m.slot + m.nslots), None)


@dataclass(slots=True, eq=False)
class AddPool:
    """A new pool goes to the head of the list (``add_mem_pool()``)."""

    event: PoolAdd | Grow
    entry_ns: int
    exit_ns: int
    pool: Pool
    compared: ClassVar[bool] = False

    def attempt(self, world: Allocator) -> Undo | None:
        pool, event = self.pool, self.event
        if (event.start, event.nslabs, event.nareas) != (pool.start, pool.nslabs, pool.nareas):
            return None
        if not world.can_grow or (pool.nslabs, pool.nareas) not in self._sizes(world):
            return None
        before = world.pools
        world.add_pool(self.pool)

        def back() -> None:
            world.pools = before

        return back

    def adopt(self, world: Allocator) -> None:
        world.pools = (self.pool, *world.pools)

    def enter(self, ledger: Ledger) -> tuple[Violation, ...]:
        ledger.add_pool(self.pool.address, self.pool.start, self.pool.nslabs)
        return ()

    def expected(self, world: Allocator) -> str:
        if not world.can_grow:
            return "no growth"
        sizes = ", ".join(f"{nslabs}/{nareas}" for nslabs, nareas in self._sizes(world))
        was = f"{self.pool.nslabs}/{self.pool.nareas} at {self.pool.start:#x}"
        return f"a pool of one of these slots/areas: {sizes}; the one allocated is {was}"

    def observed(self) -> str:
        event = self.event
        return f"pool {event.start:#x} of {event.nslabs} slots in {event.nareas} areas was added"

    def where(self) -> tuple[Pool, int] | None:
        return None

    @staticmethod
    def _sizes(world: Allocator) -> list[tuple[int, int]]:
        return list(grow_sizes(world.default_nslabs, world.default_nareas))


@dataclass(slots=True, eq=False)
class Audit:
    """The kernel's slots, read while nothing touched them: they must be as the reference's."""

    event: Event | None
    entry_ns: int
    exit_ns: int
    state: PoolState
    pool: Pool
    difference: str = ""
    compared: ClassVar[bool] = False

    def attempt(self, world: Allocator) -> Undo | None:
        self.difference = self._differs()
        return None if self.difference else _nothing

    def adopt(self, world: Allocator) -> None:
        # The same object: events that are waiting have been resolved to it.
        self.pool.become(adopt(self.state, rule=world.revision.rule).pool)

    def enter(self, ledger: Ledger) -> tuple[Violation, ...]:
        return ()

    def expected(self, world: Allocator) -> str:
        return self.difference or self._differs()

    def observed(self) -> str:
        return f"the slots of pool {self.state.start:#x} were read"

    def where(self) -> tuple[Pool, int] | None:
        own = self.pool.free_list()
        slot = next((i for i, run in enumerate(self.state.list_) if i < len(own) and run != own[i]), 0)
        return (self.pool, slot)

    def _differs(self) -> str:
        state, pool = self.state, self.pool
        for area, kernel in enumerate(state.areas):
            if kernel.used != pool.area_used[area]:
                return f"area {area} with {pool.area_used[area]} used slots, the kernel has {kernel.used}"
            if kernel.index != pool.area_index[area]:
                return f"area {area} to search next from {pool.area_index[area]}, the kernel from {kernel.index}"
        own = pool.free_list()
        for slot, run in enumerate(state.list_):
            if run != own[slot]:
                return f"{own[slot]} free slots from slot {slot} on, the kernel has {run}"
        return ""
