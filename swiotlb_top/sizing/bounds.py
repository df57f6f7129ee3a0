"""Two bounds that hold for every size of a static pool, from one pass over the needs. docs/sizing.md proves them.

Both speak of a pool that begins at a page and whose areas are whole slot sets, as the kernel makes it
of a power of two.

- It *fails* with fewer slots than :attr:`Floor.slots`: so much is surely held at once, with the need
  that comes last.
- It *never fails* from :attr:`Ceiling.slot_sets` on. Of the slots that a search for ``k`` looks at, take
  those a distance ``d`` apart: each slot set has ``M`` of them. A mapping of ``l`` slots is in the way of
  ``ceil((k + l - 1) / d)`` of these at most, a segment boundary of ``ceil((k - 1) / d)``, and the search
  leaves out at most one an area. Where all that together is less than ``M`` times the slot sets, one is free.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.sizing.need import Need
from swiotlb_top.sizing.starts import NEVER, Starts

_HALF: Final = IO_TLB_SEGSIZE // 2
_LOOKS_A_NEED: Final = 20
"""How many others are asked for while a need is, on the average, before the bound gets looser instead of late."""


class Floor(NamedTuple):
    """What surely is held at once."""

    slots: int
    """A pool of fewer fails."""
    at: Need | None
    """The need that comes last there."""
    hopeless: Need | None
    """The first need that no pool can serve, however large. It is not in ``slots``."""

    def fails(self, nslabs: int) -> bool:
        """Whether a pool of so many slots fails for certain."""
        return self.hopeless is not None or nslabs < self.slots


class Spell(NamedTuple):
    """Needs between two moments at which nothing is mapped."""

    begin: int
    end: int
    """Their places among all needs, from the first to before the last."""
    slot_sets: int
    """A power of two, from which on none of them can fail."""
    peak_slots: int
    """Most slots in use at once."""


class Ceiling(NamedTuple):
    """From where on nothing can fail."""

    slot_sets: int
    """A pool of as many, or more, never fails; :data:`~swiotlb_top.sizing.starts.NEVER` where no size is known to."""
    at: Need | None
    """The need that asks for so many, or for which none is known."""
    peak_slots: int
    """Most slots in use at once, where each is from ``asked_ns`` to ``freed_ns``."""
    spells: tuple[Spell, ...]
    """In order. Those in which no pool that matters can fail are one, the first, of no place."""

    def holds(self, nslabs: int) -> bool:
        """Whether a pool of so many slots never fails, for certain."""
        return nslabs // IO_TLB_SEGSIZE >= self.slot_sets


def floor_of(needs: Sequence[Need]) -> Floor:
    """With how few slots a pool fails."""
    hopeless = next((need for need in needs if need.starts.impossible), None)
    served = [need for need in needs if not need.starts.impossible]
    held = _Held([(need, need.starts.nslots) for need in served])
    # Two that are each more than half a slot set do not share one; the last of them may be in a short one.
    large = _Held([(need, IO_TLB_SEGSIZE) for need in served if need.starts.nslots > _HALF])
    most, at = 0, None
    for need in served:
        nslots = need.starts.nslots
        slots = held.during(need) + nslots
        if nslots > _HALF:
            slots = max(slots, large.during(need) + _HALF + 1)
        if slots > most:
            most, at = slots, need
    return Floor(most, at, hopeless)


class _Held:
    """How much of what is held is held all through the time in which somebody asks."""

    def __init__(self, weighed: Sequence[tuple[Need, int]]) -> None:
        had = sorted((need.had_ns, weight) for need, weight in weighed)
        freeing = sorted((need.freeing_ns, weight) for need, weight in weighed)
        self._had_ns = [time_ns for time_ns, _ in had]
        self._freeing_ns = [time_ns for time_ns, _ in freeing]
        self._had = [0, *accumulate(weight for _, weight in had)]
        self._freeing = [0, *accumulate(weight for _, weight in freeing)]

    def during(self, need: Need) -> int:
        """What was had before it was asked for, but for all that may have been given back by the time it was had."""
        had = self._had[bisect_left(self._had_ns, need.asked_ns)]
        return max(had - self._freeing[bisect_right(self._freeing_ns, need.had_ns)], 0)


def ceiling_of(needs: Sequence[Need], nareas: int, from_slot_sets: int = 0) -> Ceiling:
    """From how many slot sets on a pool never fails, and the most slots that can be in use.

    Beside a need, all counts that may be mapped at any time while it is asked for: a search visits one area after the
    other, and each as it is at that time.

    :param needs: in the order of ``asked_ns``.
    :param nareas: the pool has no more.
    :param from_slot_sets: fewer do not matter.
    """
    beside, spells, begin = _Beside(needs), _Spells(from_slot_sets), 0
    worst, worst_at = 0, None
    for at, need in enumerate(needs):
        beside.advance(need)
        if beside.ended == at:
            spells.close(begin, at)
            begin = at
        slot_sets = beside.slot_sets(need.starts, nareas, min(worst, spells.slot_sets))
        if slot_sets > worst:
            worst, worst_at = slot_sets, need
        spells.add(slot_sets, beside.slots)
    spells.close(begin, len(needs))
    every = spells.found()
    return Ceiling(worst, worst_at, max(spell.peak_slots for spell in every), every)


class _Spells:
    """Spells, one after the other."""

    def __init__(self, from_slot_sets: int) -> None:
        self._from = self.slot_sets = from_slot_sets
        self._peak_slots = 0
        self._found: list[Spell] = []
        self._others_slots = 0

    def add(self, slot_sets: int, slots: int) -> None:
        """A need of the current spell. Pools are powers of two, so that nothing between two matters."""
        if slots > self._peak_slots:
            self._peak_slots = slots
        if slot_sets > self.slot_sets:
            self.slot_sets = 1 << (slot_sets - 1).bit_length()

    def close(self, begin: int, end: int) -> None:
        """A spell is over, and another begins."""
        if self.slot_sets > self._from:
            self._found.append(Spell(begin, end, self.slot_sets, self._peak_slots))
        else:
            self._others_slots = max(self._others_slots, self._peak_slots)
        self.slot_sets, self._peak_slots = self._from, 0

    def found(self) -> tuple[Spell, ...]:
        return (Spell(0, 0, self._from, self._others_slots), *self._found)


class _Beside:
    """What may be mapped while a need is asked for, one need after the other."""

    def __init__(self, needs: Sequence[Need]) -> None:
        self._needs = needs
        self._by_end = sorted(needs, key=lambda need: need.freed_ns)
        self._begun = 0
        self.ended = 0
        """How many needs were given back before the current one was asked for."""
        self._kinds: Counter[int] = Counter()
        """What was asked for until then, and not given back before."""
        self.slots = 0
        """Of these."""
        self._same: Starts | None = None
        self._same_weights: Sequence[int] = ()
        self._same_weight = 0
        self._ahead: list[Starts] = []
        """What is asked for while the need is."""
        self._looks = _LOOKS_A_NEED * len(needs)

    def advance(self, need: Need) -> None:
        """Go on to the next need."""
        needs = self._needs
        self._begin_until(need.asked_ns)
        while self._by_end[self.ended].freed_ns < need.asked_ns:
            self._enter(self._by_end[self.ended].starts, -1)
            self.ended += 1
        self._ahead = []
        at = self._begun
        while at < len(needs) and needs[at].asked_ns <= need.had_ns:
            if not self._looks:  # from here on, what is asked for later counts already now
                self._ahead = []
                self._begin_until(need.had_ns)
                return
            self._looks -= 1
            if not needs[at].starts.impossible:
                self._ahead.append(needs[at].starts)
            at += 1

    def _begin_until(self, time_ns: int) -> None:
        needs = self._needs
        while self._begun < len(needs) and needs[self._begun].asked_ns <= time_ns:
            self._enter(needs[self._begun].starts, 1)
            self._begun += 1

    def _enter(self, starts: Starts, times: int) -> None:
        if starts.impossible:
            return
        self._kinds[starts.kind] += times
        self.slots += times * starts.nslots
        if self._same:
            self._same_weight += times * self._same_weights[starts.kind]

    def slot_sets(self, starts: Starts, nareas: int, least: int) -> int:
        """From how many slot sets on the need is served, for certain; 0 where no more than ``least`` are wanted."""
        if not starts.distances:
            return NEVER
        if starts.slot_sets((self._first_weight(starts),), nareas) <= least:
            return 0
        return starts.slot_sets([self._weight(starts, distance.weights) for distance in starts.distances], nareas)

    def _first_weight(self, starts: Starts) -> int:
        """By the first distance. The same requests come in a row: for these it is kept."""
        if starts is not self._same:
            self._same, self._same_weights = starts, starts.distances[0].weights
            self._same_weight = self._weight_of_begun(self._same_weights)
        return self._same_weight + self._weight_of_ahead(starts, self._same_weights)

    def _weight(self, starts: Starts, weights: Sequence[int]) -> int:
        """How many starts all that may be mapped is in the way of, but for the need itself."""
        return self._weight_of_begun(weights) + self._weight_of_ahead(starts, weights)

    def _weight_of_begun(self, weights: Sequence[int]) -> int:
        return sum(times * weights[kind] for kind, times in self._kinds.items() if times)

    def _weight_of_ahead(self, starts: Starts, weights: Sequence[int]) -> int:
        return sum(weights[other.kind] for other in self._ahead) - weights[starts.kind]
