"""What the judge puts in order: events, turned into operations on the reference.

An operation has a closed interval and an effect. ``attempt`` does it if the reference, in the
state it is in, would have done the same as the kernel, and returns how to take it back; ``impose``
and ``adopt`` do what the kernel did, whatever the reference thinks of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from swiotlb_top.allocator import Allocator, Hazard, Ledger, Pool, Request, Revision, Violation
from swiotlb_top.allocator.geometry import (
    IO_TLB_SHIFT,
    IO_TLB_SIZE,
    PAGE_SIZE,
    nr_slots,
    slot_addr,
)
from swiotlb_top.allocator.pool import UNKNOWN_DEVICE, Mapping
from swiotlb_top.events import ENTRY_UNKNOWN, NOT_FOUND, Event, Grow, PoolAdd, Unmap

ADDRESS_UNSEEN: Final = -1
_LARGEST_PADDING_BYTES: Final = (1 << 16) - 1
"""Of a mapping's end, for an IOMMU: its pages are of 64 KiB at most."""

Undo = Callable[[], None]


def nothing() -> None:
    """Undo of what changed nothing."""


class Operation(Protocol):
    """One operation on the allocator, between two times."""

    compared: ClassVar[bool]
    """Whether it counts as an operation put to the reference: a mapping or a release."""

    @property
    def given(self) -> bool:
        """Whether it need not be as the reference's, as it is not known in full what was asked."""

    @property
    def entry_ns(self) -> int: ...
    @property
    def exit_ns(self) -> int: ...
    @property
    def event(self) -> Event | None: ...

    def attempt(self, world: Allocator) -> Undo | None:
        """Do it as the kernel did if the reference agrees; None, and nothing changed, if not."""

    def impose(self, world: Allocator) -> Undo | None:
        """Do as the kernel did, as far as that can be taken back; None, and nothing changed, if it cannot be."""

    def adopt(self, world: Allocator) -> None:
        """Do as the kernel did."""

    def areas(self, world: Allocator) -> Iterable[tuple[Pool, int]]:
        """The areas it may have read or changed."""

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
    elsewhere: tuple[int, ...] = ()
    """Other CPUs it may have begun on."""
    given: bool = False
    compared: ClassVar[bool] = True

    @property
    def area(self) -> int:
        return self.slot // self.pool.area_nslabs if self.pool else NOT_FOUND

    @property
    def cpus(self) -> tuple[int, ...]:
        """CPUs it may have begun on."""
        return (self.cpu, *self.elsewhere)

    @property
    def nslots(self) -> int:
        return nr_slots(self.request.alloc_size_bytes)

    @property
    def next_index(self) -> int:
        """Where the next search of its area begins, if nothing follows it: from the area's first slot."""
        pool = self.pool
        if pool is None:
            return 0
        index = self.slot % pool.area_nslabs + self.nslots
        return index if index < pool.area_nslabs else 0

    def refused(self, world: Allocator) -> bool:
        """Whether it is turned down without a look at any area."""
        return world.dynamic and world.revision.refuses(self.request)

    def listed(self, world: Allocator) -> bool:
        """Whether the slots came from a pool on the allocator's list."""
        return self.slot >= 0 and self.pool in world.pools

    def attempt(self, world: Allocator) -> Undo | None:
        if self.given:
            return self.impose(world)
        found = world.find_slots(self.cpu, self.request)
        for cpu in self.elsewhere:
            if found is None or (found.pool is self.pool and found.slot == self.slot):
                break
            found = world.find_slots(cpu, self.request)
        if found is None:
            return self.attempt_beyond_pools(world)
        pool, slot = found
        if pool is not self.pool or slot != self.slot or not self._address_is_right(pool, world.revision):
            return None
        undo = pool.take(slot, self.request, self.dev)
        return lambda: pool.undo(undo)

    def _address_is_right(self, pool: Pool, revision: Revision) -> bool:
        known = self.tlb_addr != ADDRESS_UNSEEN
        return not known or self.tlb_addr == revision.tlb_addr(pool.start, self.slot, self.request)

    def attempt_in_its_area(self, world: Allocator) -> Undo | None:
        """Its area is asked now, all before it were in vain."""
        pool = self.pool
        if (
            pool is None
            or pool.search(self.area, self.request) != self.slot
            or not self._address_is_right(pool, world.revision)
        ):
            return None
        undo = pool.take(self.slot, self.request, self.dev)
        return lambda: pool.undo(undo)

    def attempt_beyond_pools(self, world: Allocator) -> Undo | None:
        """The listed pools have no room: a transient pool, or failure (``swiotlb_find_slots()``)."""
        pool = self.pool
        if pool is None:
            return nothing if self.slot < 0 else None
        if not world.grows_for(self.request) or pool in world.pools:
            return None
        if pool.nslabs != nr_slots(self.request.alloc_size_bytes):
            return None
        if pool.nareas != 1 or pool.search(0, self.request) != self.slot:
            return None
        return nothing if self.slot < 0 else self._take_in(pool, world)

    def crowded_out(self) -> bool:
        """Whether its slots are free, and yet its area counts too many in use for a search to look there: of areas
        that are no whole slot sets, one may count slots of the next."""
        pool = self.pool
        if pool is None or not 0 <= self.slot < pool.nslabs or self.area >= pool.nareas:
            return False
        return pool.free_slots(self.area) < self.nslots <= pool.free_run(self.slot)

    def _take_in(self, pool: Pool, world: Allocator) -> Undo:
        """Take the slots, which are free, in a pool that is on the list or becomes a transient one."""
        undo = pool.take(self.slot, self.request, self.dev)
        if pool in world.pools:
            return lambda: pool.undo(undo)
        world.add_transient(self.dev, pool)

        def back() -> None:
            world.delete_transient(self.dev, pool)
            pool.undo(undo)

        return back

    def impose(self, world: Allocator) -> Undo | None:
        if self.pool is None or self.slot < 0:
            return nothing
        fits = self._could_be(nr_slots(self.request.alloc_size_bytes)) and self.area < self.pool.nareas
        own = self.pool.transient and self.pool not in world.transient.get(self.dev, ())
        return self._take_in(self.pool, world) if fits and (own or self.pool in world.pools) else None

    def areas(self, world: Allocator) -> Iterator[tuple[Pool, int]]:
        own = (self.pool, self.area)
        if self.pool is not None and self.slot >= 0:
            yield self.pool, self.area
        if self.given or self.refused(world):
            return
        for cpu in self.cpus:
            for area in world.attempts(cpu):
                if area == own:
                    break
                yield area

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
        if self.given:
            seen = self.tlb_addr != ADDRESS_UNSEEN
            begins = (self.tlb_addr - pool.start) >> IO_TLB_SHIFT if seen else self.slot
            return ledger.adopt(pool.address, self.slot, self.nslots, begins)
        return ledger.mapped(pool.address, self.slot, self.request)

    def hold_passed_over(self, world: Allocator) -> None:
        """After a disagreement: what the reference would have taken is not free in the kernel, or so it seems.

        Left free it would be found again by every search to come, and one fault reported as many. Held
        wrongly it costs one report more: the kernel takes it, and it is the kernel's. Where the reference
        does not even think the kernel's own slots free, the fault is there, and nothing was passed over.
        """
        found = None if self.given else world.find_slots(self.cpu, self.request)
        if found and self._could_be(nr_slots(self.request.alloc_size_bytes)):
            found.pool.take(found.slot, self.request, self.dev)

    def _could_be(self, nslots: int) -> bool:
        pool = self.pool
        if pool is None or self.slot < 0:
            return True
        return self.slot < pool.nslabs and pool.free_run(self.slot) >= nslots

    def expected(self, world: Allocator) -> str:
        if self.given:
            return "slots that are free"
        found = world.find_slots(self.cpu, self.request)
        if found:
            return f"slot {found.slot} of pool {found.pool.start:#x} (area {found.slot // found.pool.area_nslabs})"
        grows = world.grows_for(self.request)
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

    event: Unmap
    entry_ns: int
    exit_ns: int
    dev: int
    pool: Pool
    tlb_addr: int
    min_align_mask: int
    size_bytes: int
    given: bool = False
    mapping: Mapping | None = None
    """What was released, once it is."""
    compared: ClassVar[bool] = True

    def attempt(self, world: Allocator) -> Undo | None:
        # Where padding is not known, the buffer may begin anywhere in it.
        mapping = self.mapping = self._around() if self.given else self.found()
        if mapping is None or not self._fits(mapping):
            return None
        return self._let_go(mapping, world)

    def impose(self, world: Allocator) -> Undo | None:
        mapping = self.mapping = self._around()
        return nothing if mapping is None else self._let_go(mapping, world)

    def _let_go(self, mapping: Mapping, world: Allocator) -> Undo | None:
        pool = self.pool
        if pool in world.pools:
            undo = pool.release(mapping)
            return lambda: pool.undo(undo)
        if pool not in world.transient.get(self.dev, ()):
            return None
        world.delete_transient(self.dev, pool)
        return lambda: world.add_transient(self.dev, pool)

    def adopt(self, world: Allocator) -> None:
        self.mapping = self._around()
        if self.mapping and self.pool in world.pools:
            self.pool.release(self.mapping)
        elif self.pool in world.transient.get(self.dev, ()):
            world.delete_transient(self.dev, self.pool)

    def areas(self, world: Allocator) -> tuple[tuple[Pool, int], ...]:
        place = self.where()
        return ((self.pool, place[1] // self.pool.area_nslabs),) if place else ()

    def enter(self, ledger: Ledger) -> tuple[Violation, ...]:
        pool, mapping = self.pool, self.mapping
        if self.given and mapping:
            return ledger.released(pool.address, slot_addr(pool.start, mapping.slot + mapping.pad_slots), 0)
        if mapping and mapping[3] == self.size_bytes and not (self.min_align_mask or pool.transient):
            return ledger.released(pool.address, self.tlb_addr, 0)  # as it nearly always is
        if mapping is not None and self._begins_anywhere_in(mapping):
            # The ledger knows it by its first slot.
            return ledger.released(pool.address, slot_addr(pool.start, mapping.slot), 0)
        violations = ledger.released(pool.address, self.tlb_addr, self.min_align_mask)
        if pool.transient:
            ledger.remove_pool(pool.address)
        if mapping is not None and not violations:
            return self._of_another_size(mapping)
        return violations

    def _fits(self, mapping: Mapping) -> bool:
        """Whether as many bytes are released as were mapped, as far as that is known."""
        if mapping[3] == self.size_bytes or self.given or self._begins_anywhere_in(mapping):
            return True
        return not self._of_another_size(mapping)

    def _begins_anywhere_in(self, mapping: Mapping) -> bool:
        """Whether a snapshot caught the mapping before it was to be seen where its buffer begins."""
        return mapping.slot + mapping.pad_slots != self.slot

    def _of_another_size(self, mapping: Mapping) -> tuple[Violation, ...]:
        """As many bytes must be unmapped as were mapped. What was asked for may have been more: padding
        at the end, to a multiple of some page size."""
        offset = self.tlb_addr & self.min_align_mask & (IO_TLB_SIZE - 1)
        mapped_bytes = mapping.alloc_size_bytes
        if mapping.dev != UNKNOWN_DEVICE:
            mapped_bytes -= offset
        if mapped_bytes == self.size_bytes:
            return ()
        mapped_bytes -= mapping.pad_slots << IO_TLB_SHIFT
        padded = not (mapped_bytes % PAGE_SIZE and (mapped_bytes + offset) % PAGE_SIZE)
        if 0 <= mapped_bytes - self.size_bytes <= (_LARGEST_PADDING_BYTES if padded else 0):
            return ()
        what = f"release of {self.size_bytes} bytes at {self.tlb_addr:#x}, mapped were {mapped_bytes}"
        return (Violation(Hazard.NOT_MAPPED, what),)

    def expected(self, world: Allocator) -> str:
        if self.found():
            return "as many bytes as were mapped"
        return f"a mapping at {self.tlb_addr:#x}: the reference has none that begins there"

    def observed(self) -> str:
        return f"release of {self.tlb_addr:#x} in pool {self.pool.start:#x}"

    @property
    def slot(self) -> int:
        """Where the buffer begins, which may be anywhere."""
        return (self.tlb_addr - self.pool.start) >> IO_TLB_SHIFT

    def where(self) -> tuple[Pool, int] | None:
        return (self.pool, self.slot) if 0 <= self.slot < self.pool.nslabs else None

    @property
    def unseen(self) -> bool:
        """Whether it was not seen to begin, and ``entry_ns`` is only a guess that is early enough."""
        return self.event.entry_ns == ENTRY_UNKNOWN

    def found(self) -> Mapping | None:
        """The mapping that begins there now."""
        return self.pool.find_mapping(self.tlb_addr, self.min_align_mask)

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
    given: ClassVar[bool] = False
    compared: ClassVar[bool] = False

    def attempt(self, world: Allocator) -> Undo | None:
        pool, event = self.pool, self.event
        if (event.start, event.nslabs, event.nareas) != (pool.start, pool.nslabs, pool.nareas):
            return None
        if not world.can_grow or (pool.nslabs, pool.nareas) not in self._sizes(world):
            return None
        return self.impose(world)

    def impose(self, world: Allocator) -> Undo:
        before = world.pools
        world.add_pool(self.pool)

        def back() -> None:
            world.pools = before

        return back

    def adopt(self, world: Allocator) -> None:
        world.pools = (self.pool, *world.pools)

    def areas(self, world: Allocator) -> tuple[tuple[Pool, int], ...]:
        return tuple((self.pool, area) for area in range(self.pool.nareas))

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
        return list(world.revision.grow_sizes(world.default_nslabs, world.default_nareas))
