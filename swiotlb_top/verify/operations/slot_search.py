"""A search for slots: ``swiotlb_find_slots()``, down to ``swiotlb_search_area()`` in one area.

The kernel's search is not atomic: it visits one area after another, each under that area's lock.
:meth:`SlotSearch.apply_if_legal` takes it as one step all the same;
:mod:`swiotlb_top.verify.linearize.area_scan` and :meth:`SlotSearch.apply_in_its_area` take it apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from swiotlb_top.allocator import Allocator, Ledger, Mapping, Pool, Request, Revision, Violation
from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.constants import IO_TLB_SHIFT, NOT_FOUND
from swiotlb_top.events import Event
from swiotlb_top.verify.findings import Doubt
from swiotlb_top.verify.operations.base import Undo, no_undo

ADDRESS_UNSEEN: Final = -1
"""In place of a buffer's address, if the probe does not see what the map returned."""


# Not frozen: setting a field of a frozen class costs a call, and there is one SlotSearch for each mapping.
@dataclass(slots=True, eq=False)
class SlotSearch:
    """One ``swiotlb_find_slots()`` that was seen.

    If the search failed, ``slot`` is -1 and ``pool`` is the transient pool allocated for it that could not hold the
    request, or None. If it found slots, ``pool`` is None if that pool was never announced.
    """

    event: Event
    entry_ns: int
    exit_ns: int
    cpu: int
    dev: int
    request: Request
    pool: Pool | None
    slot: int
    tlb_addr: int = ADDRESS_UNSEEN
    """The buffer's address that the map returned, or :data:`ADDRESS_UNSEEN`."""
    other_cpus: tuple[int, ...] = ()
    """Numbers of other CPUs on which it may have begun.

    The kernel reads its CPU number at the beginning of the search, the probe at its end.
    """
    excuse: Doubt | None = None
    """Why nothing can be said of it if the model would have found slots; None: it then disagrees."""
    unchecked: bool = False
    in_the_way: tuple[Mapping, ...] = ()
    """The mappings that had some of its slots when it was adopted as it is."""
    compared: ClassVar[bool] = True

    @property
    def area(self) -> int:
        """Number of the area in which the slots lie; of a failed search in no pool, -1."""
        return self.slot // self.pool.area_nslabs if self.pool else NOT_FOUND

    @property
    def sets_index_of(self) -> tuple[Pool, int] | None:
        """The pool and number of the area whose ``index`` it sets.

        None if it failed, or if its slots lie behind the last area, where no search of a sound kernel takes any.
        """
        pool = self.pool
        return (pool, self.area) if pool is not None and 0 <= self.area < pool.nareas else None

    @property
    def cpus(self) -> tuple[int, ...]:
        """Numbers of the CPUs on which it may have begun."""
        return (self.cpu, *self.other_cpus)

    @property
    def nslots(self) -> int:
        """How many slots it asked for."""
        return nr_slots(self.request.alloc_size_bytes)

    @property
    def next_index(self) -> int:
        """The ``index`` that it leaves in its area: where the next search begins, counted from the first slot there."""
        pool = self.pool
        if pool is None:
            return 0
        index = self.slot % pool.area_nslabs + self.nslots
        return index if index < pool.area_nslabs else 0

    def is_refused(self, model: Allocator) -> bool:
        """Whether the kernel turns it down before it looks at any area."""
        return model.dynamic and model.revision.refuses(self.request)

    def is_in_listed_pool(self, model: Allocator) -> bool:
        """Whether it found slots in a pool that is on the allocator's list."""
        return self.slot >= 0 and self.pool in model.pools

    def apply_if_legal(self, model: Allocator) -> Undo | None:
        if self.unchecked:
            return self.apply_forced(model)
        found = model.find_slots(self.cpu, self.request)
        if self.other_cpus:
            model.spend(len(self.other_cpus))
        for cpu in self.other_cpus:
            if found is None or (found.pool is self.pool and found.slot == self.slot):
                break
            found = model.find_slots(cpu, self.request)
        if found is None:
            return self.apply_beyond_pools(model)
        pool, slot = found
        if pool is not self.pool or slot != self.slot or not self.address_is_right(pool, model.revision):
            return None
        undo = pool.take(slot, self.request, self.dev)
        return lambda: pool.undo(undo)

    def address_is_right(self, pool: Pool, revision: Revision) -> bool:
        """Whether the map returned the address that its slots have in ``pool``; true if the address was not seen."""
        known = self.tlb_addr != ADDRESS_UNSEEN
        return not known or self.tlb_addr == revision.tlb_addr(pool.start, self.slot, self.request)

    def apply_in_its_area(self, model: Allocator) -> Undo | None:
        """Apply the last step of a search: its own area is searched now, after all areas before it were full.

        :returns: how to take it back; None, with the model unchanged, if the model would not find these slots.
        """
        pool = self.pool
        if (
            pool is None
            or pool.search(self.area, self.request) != self.slot
            or not self.address_is_right(pool, model.revision)
        ):
            return None
        undo = pool.take(self.slot, self.request, self.dev)
        return lambda: pool.undo(undo)

    def apply_beyond_pools(self, model: Allocator) -> Undo | None:
        """Apply what ``swiotlb_find_slots()`` does once the listed pools are full: use a transient pool, or fail.

        :returns: how to take it back; None, with the model unchanged, if the model would do something else.
        """
        pool = self.pool
        if pool is None:
            return no_undo if self.slot < 0 else None
        if not model.grows_for(self.request) or pool in model.pools:
            return None
        if pool.nslabs != nr_slots(self.request.alloc_size_bytes):
            return None
        if pool.nareas != 1 or pool.search(0, self.request) != self.slot:
            return None
        return no_undo if self.slot < 0 else self._take(pool, model)

    def hidden_by_area_used(self) -> bool:
        """Whether its slots are free, but its area's ``used`` is so high that no search looks for them.

        That happens if an area's size is no multiple of a slot set: an area may then count slots of the next one.
        """
        pool = self.pool
        if pool is None or not 0 <= self.slot < pool.nslabs or self.area >= pool.nareas:
            return False
        return pool.free_slots(self.area) < self.nslots <= pool.free_run(self.slot)

    def _take(self, pool: Pool, model: Allocator) -> Undo:
        """Take the slots, which must be free, in a pool that is on the list or becomes the device's transient pool."""
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
        fits = self._slots_are_free(nr_slots(self.request.alloc_size_bytes)) and self.area < self.pool.nareas
        own = self.pool.transient and self.pool not in model.transient.get(self.dev, ())
        return self._take(self.pool, model) if fits and (own or self.pool in model.pools) else None

    def areas(self, model: Allocator) -> Iterator[tuple[Pool, int]]:
        own = (self.pool, self.area)
        if self.pool is not None and self.slot >= 0:
            yield self.pool, self.area
        if self.unchecked or self.is_refused(model):
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
        if self.area < self.pool.nareas:  # behind the last area no slot can be taken
            self.in_the_way = self.pool.force(self.slot, self.request, self.dev)
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

    def _slots_are_free(self, nslots: int) -> bool:
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
