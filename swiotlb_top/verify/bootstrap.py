"""Arriving late: from copies of slots that are in use to a state that is known, area by area.

Each area was copied some time between two moments, without its lock, while operations went on.
Where none overlapped, the copy is the area's state.  Where some did it may be torn, but only in the
slots these had to do with, and of those it is known how they were left: so what overlapped is done
again on top of the copy, whatever the reference thinks of it, and afterwards the area is known.

But for this: a mapping that was copied, or made again, may be the one that was released meanwhile, or another that
came into its place.  That a release was seen to begin after the map had returned tells; where nothing does, the
mapping stays in use, and what its area holds stays unknown until that one is gone - released or given out again, as
it was in either case then - or until the area is read anew while nothing goes on.

None of this is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from swiotlb_top.allocator import Allocator, Ledger, Mapping, Pool
from swiotlb_top.allocator.geometry import IO_TLB_SEGSIZE, nr_slots, slot_addr
from swiotlb_top.state import MemState
from swiotlb_top.verify.linearize.plausible_order import plausible_order
from swiotlb_top.verify.linearize.possible_indices import IndexAlternatives, alternatives_after
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Area, Domain, areas_of, domain_of, domains_of, touched
from swiotlb_top.verify.operations.observed import InitialCopy, ObservedArea
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch

_Searches: TypeAlias = dict[tuple[Pool, int], SlotSearch]
"""Searches by the first slot they found; of one slot, the last."""


class Bootstrap:
    """What is not known yet of a state that was read while it changed.

    :param pools: the reference's, made from ``mem``.
    :param ledger: gets the mappings of each area as that becomes known.
    """

    def __init__(self, mem: MemState, pools: tuple[Pool, ...], ledger: Ledger) -> None:
        self.begin_ns = mem.begin_ns
        self._read = {pool: (state.begin_ns, state.end_ns) for pool, state in zip(pools, mem.pools, strict=True)}
        self._unknown = dict.fromkeys(domain for pool in pools for domain in domains_of(pool))
        self.uncertain: IndexAlternatives = {}
        """Where areas may be searched next that are known or were searched; empty for what is certain."""
        self._ledger = ledger
        self._torn: set[Domain] = set()
        """Copied while the operations went on that are being done."""
        self._doubtful: list[tuple[Pool, Mapping]] = []
        """Mappings that are in use in the reference, and may have been released in the kernel."""
        self._gone: set[tuple[Pool, int]] = set()
        """Slots of mappings for which no release is known, though a search found some of these slots."""
        self._mappings: dict[Pool, dict[Domain, list[Mapping]]] = {}
        self._cut: dict[tuple[Pool, int], Mapping] = {}
        """What is left of mappings that were being released, by the slots they had no more."""
        for pool in pools:
            ledger.add_pool(pool, pool.start, pool.nslabs)
            self._cut |= {(pool, slot): mapping for mapping in pool.mappings() for slot in _lost_slots(mapping)}

    @property
    def over(self) -> bool:
        """Whether all is known."""
        return not self._unknown

    def copies(self) -> Iterator[InitialCopy]:
        """What there is to be put in its place among the operations."""
        return (InitialCopy(*self._read[domain[0]], domain) for domain in self._unknown)

    def concerns(self, group: list[Operation], model: Allocator) -> bool:
        """Whether an operation of the group touches what is not known yet."""
        return any(not self._unknown.keys().isdisjoint(touched(operation, model)) for operation in group)

    def go_through(self, group: list[Operation], model: Allocator) -> int:
        """Do what a group of overlapping operations did; how many of them would have been compared."""
        copies = [operation for operation in group if isinstance(operation, InitialCopy)]
        done = [operation for operation in group if not isinstance(operation, InitialCopy | ObservedArea)]
        if not done:
            self._read_anew(group, model)
        self._torn = {copy.domain for copy in copies}
        read = {(domain[0], area): domain[0].area_index[area] for domain in self._torn for area in areas_of(domain)}
        takes: _Searches = {}
        rest = []
        for operation in done:
            place = self._copied_at(operation)
            if place is None:
                rest.append(operation)
            elif isinstance(operation, SlotSearch):
                takes[place] = operation
        for operation in plausible_order(rest, self._sure):
            self._do(operation, model, takes)
        doubtful = {_domain(pool, mapping) for pool, mapping in self._doubtful}
        self._doubtful = [(pool, mapping) for pool, mapping in self._doubtful if _is_live(pool, mapping)]
        still_doubtful = {_domain(pool, mapping) for pool, mapping in self._doubtful}
        settled = (self._torn | doubtful) - still_doubtful
        for domain in [domain for domain in self._unknown if domain in settled]:
            self._now_known(domain, torn=bool(done))
        self._torn = set()
        self._gone.clear()
        self._go_on_from(read, [take for take in takes.values() if not self._copied_at(take)])
        return sum(operation.compared for operation in done)

    def _do(self, operation: Operation, model: Allocator, takes: _Searches) -> None:
        """Do one operation.

        :param takes: the searches so far.
        """
        if isinstance(operation, AddPool):
            operation.adopt_as_is(model)
            operation.record_in(self._ledger)
            return
        place = operation.location()
        if place is None:
            return
        pool = place[0]
        if isinstance(operation, SlotSearch):
            takes[place] = operation
            self._gone |= set(_in_the_way(operation, pool))
        elif isinstance(operation, Release) and not pool.transient:
            mapping = self._meant(operation)
            if mapping is None or not self._is_of_what_is_there(operation, mapping, takes):
                return  # the copy has that already, or it is to be waited for
            if operation.target() is None:
                pool.release(mapping)
                self._mappings.pop(pool, None)
                return
        operation.adopt_as_is(model)
        self._mappings.pop(pool, None)
        if domain_of(pool, place[1] // pool.area_nslabs) not in self._unknown:
            operation.record_in(self._ledger)

    def _copied_at(self, operation: Operation) -> tuple[Pool, int] | None:
        """Where an operation was at work that was over before its pool's copy began; None if it was not."""
        place = operation.location()
        return place if place and operation.exit_ns < self._read.get(place[0], (0, 0))[0] else None

    def _meant(self, release: Release) -> Mapping | None:
        """What it may be of: a mapping that is there, or padding that is left of one whose buffer was free already."""
        pool = release.pool
        cut = self._cut.get((pool, release.slot))
        return release.target() or (
            cut if cut and _is_live(pool, cut) and _domain(pool, cut) in self._unknown else None
        )

    def _is_of_what_is_there(self, release: Release, mapping: Mapping, takes: _Searches) -> bool:
        """Whether a release is of the mapping that is in its place now; where that cannot be told, this is noted."""
        pool = release.pool
        taken = takes.get((pool, mapping.slot))
        begin_ns, end_ns = self._read.get(pool, (0, 0))
        if release.entry_ns >= (taken.exit_ns if taken else begin_ns):
            return True
        if taken is not None and not release.entry_unseen:
            return False  # it made room for that one
        if taken is not None and release.entry_ns > end_ns and (pool, release.slot) not in self._gone:
            return True  # nothing else can have been released there since the copy
        self._doubtful.append((pool, mapping))
        return False

    def _sure(self, pool: Pool, mapping: Mapping) -> bool:
        """Whether it is known that a mapping was there before this group of operations."""
        return _domain(pool, mapping) not in self._torn and (pool, mapping) not in self._doubtful

    def _read_anew(self, group: list[Operation], model: Allocator) -> None:
        """What was read while nothing went on is as it was read."""
        for audit in group:
            if isinstance(audit, ObservedArea) and domain_of(audit.pool, audit.area) in self._unknown:
                audit.adopt_as_is(model)
                self._mappings.pop(audit.pool, None)
                self.uncertain[audit.pool, audit.area] = {}

    def _go_on_from(self, read: dict[Area, int], takes: list[SlotSearch]) -> None:
        """Note where areas may be searched next.

        :param read: the ``index`` of areas that were copied meanwhile.
        :param takes: the searches done, in each place the last.
        """
        by_area: dict[Area, list[SlotSearch]] = {}
        for take in takes:
            if take.pool is not None:
                by_area.setdefault((take.pool, take.area), []).append(take)
        uncertain = alternatives_after(takes)
        for area, here in by_area.items():
            others = uncertain.get(area, {})
            # What was over before the copy began may have come after what was not.
            if area in read and all(take.entry_ns <= self._read[area[0]][1] for take in here):
                others[read[area]] = True
            self.uncertain[area] = others

    def _now_known(self, domain: Domain, *, torn: bool) -> None:
        del self._unknown[domain]
        pool = domain[0]
        mappings = self._of(pool).get(domain, [])
        if torn:
            for area in areas_of(domain):
                pool.area_used[area] = sum(m.nslots for m in mappings if m.slot // pool.area_nslabs == area)
        for mapping in mappings:
            self._ledger.adopt(pool, mapping.slot, mapping.nslots, mapping.slot + mapping.pad_slots)

    def _of(self, pool: Pool) -> dict[Domain, list[Mapping]]:
        known = self._mappings.get(pool)
        if known is None:
            known = self._mappings[pool] = {}
            for mapping in pool.mappings():
                known.setdefault(_domain(pool, mapping), []).append(mapping)
        return known


def _domain(pool: Pool, mapping: Mapping) -> Domain:
    return domain_of(pool, mapping.slot // pool.area_nslabs)


def _lost_slots(mapping: Mapping) -> range:
    """Slots that a copy shows as free, of a mapping of which it does not show where its buffer begins: releases
    begin at the end."""
    nslots = mapping.nslots if mapping.orig_addr else min(nr_slots(mapping.alloc_size_bytes), IO_TLB_SEGSIZE)
    return range(mapping.slot + mapping.nslots, mapping.slot + nslots)


def _in_the_way(take: SlotSearch, pool: Pool) -> Iterator[tuple[Pool, int]]:
    """Every slot of the mappings that have slots which a search found."""
    if pool.free_run(take.slot) >= take.nslots:
        return
    for mapping in pool.mappings():
        if mapping.slot < take.slot + take.nslots and take.slot < mapping.slot + mapping.nslots:
            yield from ((pool, slot) for slot in range(mapping.slot, mapping.slot + mapping.nslots))


def _is_live(pool: Pool, mapping: Mapping) -> bool:
    """Whether it is this mapping that is there, and no other that looks the same."""
    return pool.find_mapping(slot_addr(pool.start, mapping.slot + mapping.pad_slots), 0) is mapping
