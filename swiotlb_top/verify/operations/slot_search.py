"""A search for slots, from ``swiotlb_find_slots()`` down to one area's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from swiotlb_top.allocator import Allocator, Ledger, Pool, Request, Revision, Violation
from swiotlb_top.allocator.geometry import IO_TLB_SHIFT, nr_slots
from swiotlb_top.events import NOT_FOUND, Event
from swiotlb_top.verify.operations.base import Undo, no_undo

ADDRESS_UNSEEN: Final = -1


# Not frozen: each field set would cost a call, once an operation.
@dataclass(slots=True, eq=False)
class SlotSearch:
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
    unchecked: bool = False
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

    def refused(self, model: Allocator) -> bool:
        """Whether it is turned down without a look at any area."""
        return model.dynamic and model.revision.refuses(self.request)

    def listed(self, model: Allocator) -> bool:
        """Whether the slots came from a pool on the allocator's list."""
        return self.slot >= 0 and self.pool in model.pools

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        if self.unchecked:
            return self.apply_forced(model)
        found = model.find_slots(self.cpu, self.request)
        if self.elsewhere:
            model.spend(len(self.elsewhere))
        for cpu in self.elsewhere:
            if found is None or (found.pool is self.pool and found.slot == self.slot):
                break
            found = model.find_slots(cpu, self.request)
        if found is None:
            return self.apply_beyond_pools(model)
        pool, slot = found
        if pool is not self.pool or slot != self.slot or not self._address_is_right(pool, model.revision):
            return None
        undo = pool.take(slot, self.request, self.dev)
        return lambda: pool.undo(undo)

    def _address_is_right(self, pool: Pool, revision: Revision) -> bool:
        known = self.tlb_addr != ADDRESS_UNSEEN
        return not known or self.tlb_addr == revision.tlb_addr(pool.start, self.slot, self.request)

    def apply_in_its_area(self, model: Allocator) -> Undo | None:
        """Its area is asked now, all before it were in vain."""
        pool = self.pool
        if (
            pool is None
            or pool.search(self.area, self.request) != self.slot
            or not self._address_is_right(pool, model.revision)
        ):
            return None
        undo = pool.take(self.slot, self.request, self.dev)
        return lambda: pool.undo(undo)

    def apply_beyond_pools(self, model: Allocator) -> Undo | None:
        """The listed pools have no room: a transient pool, or failure (``swiotlb_find_slots()``)."""
        pool = self.pool
        if pool is None:
            return no_undo if self.slot < 0 else None
        if not model.grows_for(self.request) or pool in model.pools:
            return None
        if pool.nslabs != nr_slots(self.request.alloc_size_bytes):
            return None
        if pool.nareas != 1 or pool.search(0, self.request) != self.slot:
            return None
        return no_undo if self.slot < 0 else self._take_in(pool, model)

    def crowded_out(self) -> bool:
        """Whether its slots are free, and yet its area counts too many in use for a search to look there: of areas
        that are no whole slot sets, one may count slots of the next."""
        pool = self.pool
        if pool is None or not 0 <= self.slot < pool.nslabs or self.area >= pool.nareas:
            return False
        return pool.free_slots(self.area) < self.nslots <= pool.free_run(self.slot)

    def _take_in(self, pool: Pool, model: Allocator) -> Undo:
        """Take the slots, which are free, in a pool that is on the list or becomes a transient one."""
        undo = pool.take(self.slot, self.request, self.dev)
        if pool in model.pools:
            return lambda: pool.undo(undo)
        model.add_transient(self.dev, pool)

        def back() -> None:
            model.delete_transient(self.dev, pool)
            pool.undo(undo)

        return back

    def apply_forced(self, model: Allocator) -> Undo | None:
        if self.pool is None or self.slot < 0:
            return no_undo
        fits = self._could_be(nr_slots(self.request.alloc_size_bytes)) and self.area < self.pool.nareas
        own = self.pool.transient and self.pool not in model.transient.get(self.dev, ())
        return self._take_in(self.pool, model) if fits and (own or self.pool in model.pools) else None

    def areas(self, model: Allocator) -> Iterator[tuple[Pool, int]]:
        own = (self.pool, self.area)
        if self.pool is not None and self.slot >= 0:
            yield self.pool, self.area
        if self.unchecked or self.refused(model):
            return
        for cpu in self.cpus:
            asked = 0
            for area in model.attempts(cpu):
                asked += 1
                if area == own:
                    break
                yield area
            model.spend(asked)

    def adopt_as_is(self, model: Allocator) -> None:
        if self.pool is None or self.slot < 0:
            return
        if self.area < self.pool.nareas:  # else nothing can be taken there
            self.pool.force(self.slot, self.request, self.dev)
        if self.pool not in model.pools and self.pool not in model.transient.get(self.dev, ()):
            model.add_transient(self.dev, self.pool)

    def record_in(self, ledger: Ledger) -> tuple[Violation, ...]:
        pool = self.pool
        if pool is None or self.slot < 0:
            return ()
        if pool.transient:
            ledger.add_pool(pool, pool.start, pool.nslabs)
        if self.unchecked:
            seen = self.tlb_addr != ADDRESS_UNSEEN
            begins = (self.tlb_addr - pool.start) >> IO_TLB_SHIFT if seen else self.slot
            return ledger.adopt(pool, self.slot, self.nslots, begins)
        return ledger.mapped(pool, self.slot, self.request)

    def _could_be(self, nslots: int) -> bool:
        pool = self.pool
        if pool is None or self.slot < 0:
            return True
        return self.slot < pool.nslabs and pool.free_run(self.slot) >= nslots

    def expected(self, model: Allocator) -> str:
        if self.unchecked:
            return "slots that are free"
        found = model.find_slots(self.cpu, self.request)
        if found:
            return f"slot {found.slot} of pool {found.pool.start:#x} (area {found.slot // found.pool.area_nslabs})"
        grows = model.grows_for(self.request)
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

    def location(self) -> tuple[Pool, int] | None:
        return (self.pool, self.slot) if self.pool and 0 <= self.slot < self.pool.nslabs else None
