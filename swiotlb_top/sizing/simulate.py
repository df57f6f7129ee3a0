"""A demand, replayed through the reference allocator in another configuration.

Each need is asked for at its ``asked_ns`` and given back at its ``freed_ns``: as long as it can have been there.
What fails is not tried again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from swiotlb_top.allocator import Allocator, Cause, Found, Mapping, Pages, Pool, Request, TooManyAreasError, explain
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.constants import IO_TLB_SEGSIZE, IO_TLB_SHIFT, MAX_ALLOC_BYTES, NOT_FOUND, SLOT_SET_SHIFT
from swiotlb_top.sizing.bounds import Spell
from swiotlb_top.sizing.configuration import LARGEST_NSLABS, Configuration
from swiotlb_top.sizing.need import Need
from swiotlb_top.sizing.starts import NEVER

GROWTH_WAIT_NS: Final = 10_000_000
"""From a full pool to a new one, where the recording has no growth to tell."""
_START: Final = 1 << 32
"""Of the pool at boot; grown ones follow. None crosses a boundary of 4 GiB."""
_TRANSIENT_START: Final = 1 << 48
_EXPLAINED: Final = 1000
"""Failures that are explained one by one; of more, only the number is told."""
_AREAS_A_NEED: Final = 16
_AREAS_AT_LEAST: Final = 1_000_000
"""Areas that all simulations of a demand may ask, for each recorded map and for any demand; then they are given up.
They take some seconds."""
_AREAS_TO_COME_AND_GO: Final = 4
_AREAS_A_TRANSIENT: Final = 20
"""As much work as to ask so many areas is whatever else a need takes, and a transient pool."""
_SLOT_SETS_AN_AREA: Final = 8
"""As much work as to ask an area is to pass so many of its slot sets."""
_AREAS_EXPLAINED: Final = 100_000
"""Areas that are looked at to explain failures; of more, only the number of failures is told."""
_POOL: Final = 1


class Patience:
    """How much work the simulations of one demand may still be.

    :param maps: how many maps were recorded, failed ones too. What is held from before has no more for it.
    """

    def __init__(self, maps: int) -> None:
        self.areas = max(_AREAS_A_NEED * maps, _AREAS_AT_LEAST)
        """How many areas may be asked."""


@dataclass
class Outcome:
    """What became of a demand."""

    failures_of: Counter[int] = field(default_factory=Counter)
    """By device."""
    causes: Counter[Cause] = field(default_factory=Counter)
    """Of the first failures, up to a thousand."""
    first_failure: str = ""
    """Why the first failed, in a sentence."""
    peak_slots: int = 0
    """Most slots held at once, with those of a need that found none."""
    high_water_slots: int = 0
    """Most slots held at once: what ``io_tlb_used_hiwater`` would read."""
    longest_wait_ns: int = 0
    """From the first need that found the pools full to the new pool."""
    pools_added: int = 0
    transient_pools: int = 0
    memory_bytes: int = 0
    """Most there was of all pools together, transient ones among them."""
    given_up: bool = False
    """Whether it took too long, so that only the beginning is in this."""

    @property
    def failures(self) -> int:
        """Needs that found no slots."""
        return self.failures_of.total()


def simulate(
    needs: Sequence[Need],
    configuration: Configuration,
    spells: Sequence[Spell] | None = None,
    growth_wait_ns: int = GROWTH_WAIT_NS,
    patience: Patience | None = None,
) -> Outcome:
    """Replay needs in one configuration.

    :param needs: in the order of ``asked_ns``.
    :param spells: of them, those in which something may fail; None: replay all. What is left out has given all its
        slots back when a spell begins, so that it could only change where a search begins.
    :param growth_wait_ns: how long a new pool takes to come.
    :param patience: is used up; None: that of a demand which is simulated once.
    """
    patience = patience or Patience(len(needs))
    run = _Run(configuration, growth_wait_ns, patience.areas)
    slot_sets = configuration.nslabs // IO_TLB_SEGSIZE
    by_end = sorted(range(len(needs)), key=lambda at: needs[at].freed_ns)
    try:
        for spell in spells if spells is not None else [Spell(0, len(needs), NEVER, 0)]:
            if spell.slot_sets > slot_sets:
                run.spell(needs, by_end, spell)
            else:
                run.held_at_once(spell.peak_slots)
    except TooManyAreasError:
        run.outcome.given_up = True
    patience.areas = max(run.areas_left, 0)
    return run.outcome


class _Run:
    """One simulation."""

    def __init__(self, configuration: Configuration, growth_wait_ns: int, patience: int) -> None:
        revision, nslabs, dynamic = configuration.revision, configuration.nslabs, configuration.dynamic
        pool = Pool(_POOL, _START, nslabs, configuration.nareas, rule=revision.rule)
        self._swiotlb = Allocator(revision, [pool], nslabs, configuration.nareas, can_grow=dynamic, dynamic=dynamic)
        self._swiotlb.patience = patience
        self._to_explain = _AREAS_EXPLAINED
        self._wait_ns = growth_wait_ns
        self._due_ns = -1
        """When the next pool is there; -1 while none is awaited."""
        self._held: dict[int, tuple[Pool, Mapping]] = {}
        self._held_slots = 0
        self._nslabs = nslabs
        """Of all pools, transient ones among them."""
        self.outcome = Outcome(memory_bytes=configuration.memory_bytes)

    @property
    def areas_left(self) -> int:
        """How many areas may still be asked; below 0 if it was given up."""
        return self._swiotlb.patience

    def spell(self, needs: Sequence[Need], by_end: Sequence[int], spell: Spell) -> None:
        """Needs come and go. At one time, what comes is first: in the worst order.

        :param by_end: places of all needs, in the order of ``freed_ns``; those of a spell are together there, too.
        """
        gone = spell.begin
        for at in range(spell.begin, spell.end):
            need = needs[at]
            while needs[by_end[gone]].freed_ns < need.asked_ns:
                self.give_back(by_end[gone])
                gone += 1
            self.ask(at, need)
        for at in by_end[gone : spell.end]:
            self.give_back(at)

    def ask(self, at: int, need: Need) -> None:
        """A need comes."""
        swiotlb, outcome, request, nslots = self._swiotlb, self.outcome, need.request, need.starts.nslots
        if 0 <= self._due_ns <= need.asked_ns:
            self._grow()
        if self._held_slots + nslots > outcome.peak_slots:
            outcome.peak_slots = self._held_slots + nslots
        found = swiotlb.find_slots(need.cpu, request)
        swiotlb.spend(_AREAS_TO_COME_AND_GO + self._passed(request, found))
        pool, slot = found if found else self._beyond_pools(need)
        if pool is None:
            return
        self._held[at] = pool, pool.take(slot, request, need.dev).mapping
        self._held_slots += nslots
        if self._held_slots > outcome.high_water_slots:
            outcome.high_water_slots = self._held_slots

    def _passed(self, request: Request, found: Found | None) -> int:
        """How much work a search was, in areas, besides asking each: in a large area it may pass many slots."""
        if found:
            pool, slot = found
            area, in_area = divmod(slot, pool.area_nslabs)
            slots = (in_area - pool.area_index[area]) % pool.area_nslabs
        elif request.alloc_size_bytes > MAX_ALLOC_BYTES:
            return 0
        else:
            slots = sum(pool.nslabs for pool in self._swiotlb.pools)
        return (slots >> SLOT_SET_SHIFT) // _SLOT_SETS_AN_AREA

    def held_at_once(self, slots: int) -> None:
        """So many were, where nothing failed."""
        self.outcome.peak_slots = max(self.outcome.peak_slots, slots)
        self.outcome.high_water_slots = max(self.outcome.high_water_slots, slots)

    def give_back(self, at: int) -> None:
        """A need goes, if it ever had slots."""
        held = self._held.pop(at, None)
        if held is None:
            return
        pool, mapping = held
        self._held_slots -= mapping.nslots
        if pool.transient:
            self._nslabs -= pool.nslabs
        else:
            pool.release(mapping)

    def _beyond_pools(self, need: Need) -> tuple[Pool | None, int]:
        """A pool of its own for a need that found no slots, and the slot in it; else it failed."""
        swiotlb, outcome, request = self._swiotlb, self.outcome, need.request
        transient = None
        if swiotlb.grows_for(request):
            if self._due_ns < 0 and swiotlb.nslabs < LARGEST_NSLABS:
                self._due_ns = need.asked_ns + self._wait_ns
                swiotlb.growth_pending = True
            slot = NOT_FOUND
            if need.starts.nslots <= IO_TLB_SEGSIZE:  # no slot set holds more, and so no transient pool does
                swiotlb.spend(_AREAS_A_TRANSIENT)
                transient = swiotlb.transient_pool(request, Pages(_POOL, _TRANSIENT_START))
                slot = transient.search(0, request)
            if slot >= 0 and transient:
                outcome.transient_pools += 1
                self._add(transient.nslabs)
                return transient, slot
        areas = sum(pool.nareas for pool in swiotlb.pools) + 3 * self._passed(request, None)
        if outcome.failures < _EXPLAINED and areas <= self._to_explain:
            self._to_explain -= areas
            why = explain(swiotlb, need.cpu, request, transient)
            if why:
                outcome.causes[why.cause] += 1
                outcome.first_failure = outcome.first_failure or why.sentence
        outcome.failures_of[need.dev] += 1
        return None, -1

    def _grow(self) -> None:
        """The worker has run, and had memory."""
        self._due_ns = -1
        swiotlb = self._swiotlb
        at = len(swiotlb.pools)
        added = swiotlb.run_worker(lambda _: Pages(_POOL + at, slot_addr(_START, at * LARGEST_NSLABS)))
        if added:
            self.outcome.pools_added += 1
            self.outcome.longest_wait_ns = self._wait_ns
            self._add(added.nslabs)

    def _add(self, nslabs: int) -> None:
        self._nslabs += nslabs
        self.outcome.memory_bytes = max(self.outcome.memory_bytes, self._nslabs << IO_TLB_SHIFT)
