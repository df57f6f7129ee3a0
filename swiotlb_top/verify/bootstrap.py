"""Bootstrap: deriving a known state from a snapshot that was copied, without locks, while operations ran.

Each area was copied some time between two moments. If no operation overlapped that time, the copy is the area's state.
If some did, the copy may be torn, but only in the slots of these operations, and how they left those slots is known. So
the operations are applied again on top of the copy, whatever the model would do, and then the area is known.

There is one exception. A mapping that is in the copy, or was applied again, may be the one that was released
meanwhile, or a later one at the same place. If the release was seen to be invoked after the map had returned, it is
the former. If nothing decides, the mapping stays in use in the model, and its area stays unknown: until the mapping
is released or its slots are given out again, after which both cases are the same, or until the area is read again
while nothing changes it.

Nothing is compared here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from swiotlb_top.allocator import Allocator, Ledger, Mapping, Pool
from swiotlb_top.allocator.geometry import nr_slots, slot_addr
from swiotlb_top.constants import IO_TLB_SEGSIZE
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
"""Searches by pool and first slot that they found; of several at one slot, the last."""


class Bootstrap:
    """What is not known yet of a state that was read while it changed.

    :param mem: the snapshot.
    :param pools: the model's pools, made from it.
    :param ledger: gets the mappings of each area when that becomes known.
    """

    def __init__(self, mem: MemState, pools: tuple[Pool, ...], ledger: Ledger) -> None:
        self._read = {pool: (state.begin_ns, state.end_ns) for pool, state in zip(pools, mem.pools, strict=True)}
        self._unknown = dict.fromkeys(domain for pool in pools for domain in domains_of(pool))
        self.alternatives: IndexAlternatives = {}
        """What indices may be in areas that became known or were searched; empty for an area whose index is certain."""
        self._ledger = ledger
        self._torn: set[Domain] = set()
        """Domains whose copy overlaps the operations that are being applied."""
        self._maybe_released: list[tuple[Pool, Mapping]] = []
        """Mappings that are in use in the model, and may have been released in the kernel."""
        self._reused_slots: set[tuple[Pool, int]] = set()
        """Slots of mappings of which a search found some slots, although no release of the mapping is known."""
        self._mappings: dict[Pool, dict[Domain, list[Mapping]]] = {}
        """The mappings of each pool by domain, as long as they do not change."""
        self._truncated: dict[tuple[Pool, int], Mapping] = {}
        """What the copy shows of mappings that were being released, by the slots that it shows as free already."""
        for pool in pools:
            ledger.add_pool(pool, pool.start, pool.nslabs)
            self._truncated |= {
                (pool, slot): mapping for mapping in pool.mappings() for slot in _released_slots(mapping)
            }

    @property
    def complete(self) -> bool:
        """Whether every domain is known."""
        return not self._unknown

    def copies(self) -> Iterator[InitialCopy]:
        """The copies, to be put in order among the other operations."""
        return (InitialCopy(*self._read[domain[0]], domain) for domain in self._unknown)

    def concerns(self, group: list[Operation], model: Allocator) -> bool:
        """Whether an operation of the group touches a domain that is not known yet."""
        return any(not self._unknown.keys().isdisjoint(touched(operation, model)) for operation in group)

    def apply_overlapping(self, group: list[Operation], model: Allocator) -> int:
        """Apply a group of overlapping operations to the copies.

        :returns: how many of them would have been compared otherwise.
        """
        copies = [operation for operation in group if isinstance(operation, InitialCopy)]
        operations = [operation for operation in group if not isinstance(operation, InitialCopy | ObservedArea)]
        if not operations:
            self._adopt_quiet_areas(group, model)
        self._torn = {copy.domain for copy in copies}
        copied_indices = {
            (domain[0], area): domain[0].area_index[area] for domain in self._torn for area in areas_of(domain)
        }
        searches: _Searches = {}
        rest = []
        for operation in operations:
            place = self._before_copy(operation)
            if place is None:
                rest.append(operation)
            elif isinstance(operation, SlotSearch):
                searches[place] = operation
        for operation in plausible_order(rest, self._surely_live):
            self._apply(operation, model, searches)
        maybe_released = {_domain(pool, mapping) for pool, mapping in self._maybe_released}
        self._maybe_released = [(pool, mapping) for pool, mapping in self._maybe_released if _is_live(pool, mapping)]
        still_maybe_released = {_domain(pool, mapping) for pool, mapping in self._maybe_released}
        settled = (self._torn | maybe_released) - still_maybe_released
        for domain in [domain for domain in self._unknown if domain in settled]:
            self._becomes_known(domain, torn=bool(operations))
        self._torn = set()
        self._reused_slots.clear()
        self._note_alternatives(
            copied_indices, [search for search in searches.values() if not self._before_copy(search)]
        )
        return sum(operation.compared for operation in operations)

    def _apply(self, operation: Operation, model: Allocator, searches: _Searches) -> None:
        """Apply one operation.

        :param searches: the searches so far; gets this one, if it is one.
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
            searches[place] = operation
            self._reused_slots |= set(_overlapped_slots(operation, pool))
        elif isinstance(operation, Release) and not pool.transient:
            mapping = self._target_of(operation)
            if mapping is None or not self._releases_current_mapping(operation, mapping, searches):
                return  # the copy shows its effect already, or the area has to stay unknown
            if operation.target() is None:
                pool.release(mapping)
                self._mappings.pop(pool, None)
                return
        operation.adopt_as_is(model)
        self._mappings.pop(pool, None)
        if domain_of(pool, place[1] // pool.area_nslabs) not in self._unknown:
            operation.record_in(self._ledger)

    def _before_copy(self, operation: Operation) -> tuple[Pool, int] | None:
        """The place of an operation that responded before the copy of its pool began; None if it did not."""
        place = operation.location()
        return place if place and operation.exit_ns < self._read.get(place[0], (0, 0))[0] else None

    def _target_of(self, release: Release) -> Mapping | None:
        """The mapping that a release may release.

        It is one that is there, or what is left of one whose buffer was free already when the copy was made.
        """
        pool = release.pool
        truncated = self._truncated.get((pool, release.slot))
        return release.target() or (
            truncated if truncated and _is_live(pool, truncated) and _domain(pool, truncated) in self._unknown else None
        )

    def _releases_current_mapping(self, release: Release, mapping: Mapping, searches: _Searches) -> bool:
        """Whether a release releases the mapping that is at its place now, and not an earlier one.

        If nothing decides that, the mapping is noted as one that may have been released.
        """
        pool = release.pool
        search_there = searches.get((pool, mapping.slot))
        begin_ns, end_ns = self._read.get(pool, (0, 0))
        if release.entry_ns >= (search_there.exit_ns if search_there else begin_ns):
            return True
        if search_there is not None and not release.entry_unseen:
            return False  # it released an earlier mapping, whose slots that search found
        if search_there is not None and release.entry_ns > end_ns and (pool, release.slot) not in self._reused_slots:
            return True  # no other mapping can have been there to release since the copy
        self._maybe_released.append((pool, mapping))
        return False

    def _surely_live(self, pool: Pool, mapping: Mapping) -> bool:
        """Whether a mapping was certainly in use before this group of operations."""
        return _domain(pool, mapping) not in self._torn and (pool, mapping) not in self._maybe_released

    def _adopt_quiet_areas(self, group: list[Operation], model: Allocator) -> None:
        """Take over unknown areas that were read while no operation touched them."""
        for observed in group:
            if isinstance(observed, ObservedArea) and domain_of(observed.pool, observed.area) in self._unknown:
                observed.adopt_as_is(model)
                self._mappings.pop(observed.pool, None)
                self.alternatives[observed.pool, observed.area] = {}

    def _note_alternatives(self, copied_indices: dict[Area, int], searches: list[SlotSearch]) -> None:
        """Note what the indices may be after a group.

        :param copied_indices: the ``index`` of areas whose copy overlaps the group.
        :param searches: the searches that were applied, at each place the last.
        """
        by_area: dict[Area, list[SlotSearch]] = {}
        for search in searches:
            if area := search.sets_index_of:
                by_area.setdefault(area, []).append(search)
        alternatives = alternatives_after(searches)
        for area, here in by_area.items():
            others = alternatives.get(area, {})
            # The copy shows the index of a search that responded before it. That one may have come after these.
            if area in copied_indices and all(search.entry_ns <= self._read[area[0]][1] for search in here):
                others[copied_indices[area]] = True
            self.alternatives[area] = others

    def _becomes_known(self, domain: Domain, *, torn: bool) -> None:
        """Enter the mappings of a domain in the ledger.

        :param torn: whether operations were applied on top of its copy, so that ``used`` has to be counted anew.
        """
        del self._unknown[domain]
        pool = domain[0]
        mappings = self._mappings_of(pool).get(domain, [])
        if torn:
            for area in areas_of(domain):
                pool.area_used[area] = sum(m.nslots for m in mappings if m.slot // pool.area_nslabs == area)
        for mapping in mappings:
            self._ledger.adopt(pool, mapping.slot, mapping.nslots, mapping.slot + mapping.pad_slots)

    def _mappings_of(self, pool: Pool) -> dict[Domain, list[Mapping]]:
        known = self._mappings.get(pool)
        if known is None:
            known = self._mappings[pool] = {}
            for mapping in pool.mappings():
                known.setdefault(_domain(pool, mapping), []).append(mapping)
        return known


def _domain(pool: Pool, mapping: Mapping) -> Domain:
    return domain_of(pool, mapping.slot // pool.area_nslabs)


def _released_slots(mapping: Mapping) -> range:
    """The slots of a half-released mapping that a copy shows as free.

    ``swiotlb_release_slots()`` frees slots from the last to the first.
    """
    nslots = mapping.nslots if mapping.orig_addr else min(nr_slots(mapping.alloc_size_bytes), IO_TLB_SEGSIZE)
    return range(mapping.slot + mapping.nslots, mapping.slot + nslots)


def _overlapped_slots(search: SlotSearch, pool: Pool) -> Iterator[tuple[Pool, int]]:
    """All slots of the mappings that have some of the slots that a search found."""
    if pool.free_run(search.slot) >= search.nslots:
        return
    for mapping in pool.mappings():
        if mapping.slot < search.slot + search.nslots and search.slot < mapping.slot + mapping.nslots:
            yield from ((pool, slot) for slot in range(mapping.slot, mapping.slot + mapping.nslots))


def _is_live(pool: Pool, mapping: Mapping) -> bool:
    """Whether this very mapping is in use, and not a later one at the same place."""
    return pool.find_mapping(slot_addr(pool.start, mapping.slot + mapping.pad_slots), 0) is mapping
