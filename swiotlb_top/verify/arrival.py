"""Arriving late: from copies of slots that are in use to a state that is known, area by area.

Each area was copied some time between two moments, without its lock, while operations went on.
Where none overlapped, the copy is the area's state.  Where some did it may be torn, but only in the
slots these had to do with, and of those it is known how they were left: so what overlapped is done
again on top of the copy, whatever the reference thinks of it, and afterwards the area is known.
None of this is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from swiotlb_top.allocator import Allocator, Ledger, Mapping, Pool, Violation
from swiotlb_top.state import MemState
from swiotlb_top.verify.locality import Domain, areas_of, domain_of, domains_of, touched
from swiotlb_top.verify.operations import AddPool, Operation, Release, Take, Undo, nothing
from swiotlb_top.verify.ordering import in_likely_order
from swiotlb_top.verify.uncertain import Uncertain, uncertain_after


@dataclass(slots=True, eq=False)
class Copy:
    """An area was copied, to begin from: the first thing that can be said of it."""

    entry_ns: int
    exit_ns: int
    domain: Domain
    event: ClassVar[None] = None
    given: ClassVar[bool] = False
    compared: ClassVar[bool] = False

    @property
    def domain_areas(self) -> range:
        return areas_of(self.domain)

    def attempt(self, world: Allocator) -> Undo | None:
        return nothing

    impose = attempt

    def adopt(self, world: Allocator) -> None:
        """The reference began from it."""

    def areas(self, world: Allocator) -> Iterator[tuple[Pool, int]]:
        return ((self.domain[0], area) for area in self.domain_areas)

    def enter(self, ledger: Ledger) -> tuple[Violation, ...]:
        return ()

    def expected(self, world: Allocator) -> str:
        return "whatever was read"

    def observed(self) -> str:
        return f"the slots of pool {self.domain[0].start:#x} were read"

    def where(self) -> tuple[Pool, int] | None:
        return None


class Arrival:
    """What is not known yet of a state that was read while it changed.

    :param pools: the reference's, made from ``mem``.
    :param ledger: gets the mappings of each area as that becomes known.
    """

    def __init__(self, mem: MemState, pools: tuple[Pool, ...], ledger: Ledger) -> None:
        self.begin_ns = min((state.begin_ns for state in mem.pools), default=0)
        self._read = {pool: (state.begin_ns, state.end_ns) for pool, state in zip(pools, mem.pools, strict=True)}
        self._unknown = {domain for pool in pools for domain in domains_of(pool)}
        self.uncertain: Uncertain = {}
        """What cannot be told of areas that are known."""
        self._ledger = ledger
        self._mappings: dict[Pool, dict[Domain, list[Mapping]]] = {}
        for pool in pools:
            ledger.add_pool(pool.address, pool.start, pool.nslabs)

    @property
    def over(self) -> bool:
        """Whether all is known."""
        return not self._unknown

    def copies(self) -> Iterator[Copy]:
        """What there is to be put in its place among the operations."""
        return (Copy(*self._read[domain[0]], domain) for domain in self._unknown)

    def concerns(self, group: list[Operation], world: Allocator) -> bool:
        """Whether an operation of the group touches what is not known yet."""
        return any(not self._unknown.isdisjoint(touched(operation, world)) for operation in group)

    def go_through(self, group: list[Operation], world: Allocator) -> int:
        """Do what a group of overlapping operations did; how many of them would have been compared."""
        copies = [operation for operation in group if isinstance(operation, Copy)]
        done = [operation for operation in group if not isinstance(operation, Copy)]
        read = {
            (copy.domain[0], area): copy.domain[0].area_index[area] for copy in copies for area in copy.domain_areas
        }
        takes: dict[Domain, dict[int, Take]] = {}
        for operation in in_likely_order(done):
            self._do(operation, world, takes)
        for copy in copies:
            self._now_known(copy.domain, torn=bool(done))
        for domain, here in takes.items():
            self.uncertain |= uncertain_after(here.values())
            for area, index in read.items():
                # What was over before the copy began may have come after what was not.
                if domain_of(*area) == domain and all(
                    take.entry_ns <= self._read[area[0]][1] for take in here.values()
                ):
                    self.uncertain.setdefault(area, {})[index] = True
        return sum(operation.compared for operation in done)

    def _do(self, operation: Operation, world: Allocator, takes: dict[Domain, dict[int, Take]]) -> None:
        """Do one operation.

        :param takes: the searches done so far, by where they found their slots and where the buffer begins.
        """
        pool = operation.pool if isinstance(operation, Take | Release | AddPool) else None
        if pool is None or operation.exit_ns < self._read.get(pool, (0, 0))[0]:
            return  # the copy has it
        if isinstance(operation, AddPool):
            operation.adopt(world)
            operation.enter(self._ledger)
            return
        place = operation.where()
        if place is None:
            return
        domain = domain_of(pool, place[1] // pool.area_nslabs)
        taken = takes.get(domain, {}).get(place[1])
        if (
            isinstance(operation, Release)
            and taken is not None
            and operation.entry_ns < taken.exit_ns
            and not operation.unseen
        ):
            return  # it made room for that one
        if isinstance(operation, Release) and not pool.transient and operation.found() is None:
            return  # the copy has that already
        operation.adopt(world)
        self._mappings.pop(pool, None)
        if isinstance(operation, Take):
            begins = next(m.slot + m.pad_slots for m in pool.mappings() if m.slot == operation.slot)
            takes.setdefault(domain, {})[begins] = operation
        if domain not in self._unknown:
            operation.enter(self._ledger)

    def _now_known(self, domain: Domain, *, torn: bool) -> None:
        self._unknown.remove(domain)
        pool = domain[0]
        mappings = self._of(pool).get(domain, [])
        if torn:
            for area in areas_of(domain):
                pool.area_used[area] = sum(m.nslots for m in mappings if m.slot // pool.area_nslabs == area)
        for mapping in mappings:
            self._ledger.adopt(pool.address, mapping.slot, mapping.nslots, mapping.slot + mapping.pad_slots)

    def _of(self, pool: Pool) -> dict[Domain, list[Mapping]]:
        known = self._mappings.get(pool)
        if known is None:
            known = self._mappings[pool] = {}
            for mapping in pool.mappings():
                known.setdefault(domain_of(pool, mapping.slot // pool.area_nslabs), []).append(mapping)
        return known
