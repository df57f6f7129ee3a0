"""Disagreements that are not certain yet.

A call that has not returned is in no stream, and of some calls that have it is not known when they began. Such a call
may have taken or freed slots already, and then the operations that met its work do not agree with a reference that
does not know it. So a disagreement is a suspicion first, unless it is wrong by itself (slots beyond a pool's end).

It becomes certain

- when every call is known that was entered before it ended, or
- when the kernel's state, read later, is the reference's in each area it has to do with: a call that is under way
  has its slots there, or has freed them.

It is withdrawn when a call turns up that may have been under way at that time, or when none of this can be known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from swiotlb_top.verify.findings import Divergence, Doubt, Findings
from swiotlb_top.verify.operations.domains import Area

POOL_LIST: Final = None
"""The list of pools, beside the areas of pools"""
Place: TypeAlias = Area | None

_MOST: Final = 100_000
_MOST_IN_FULL: Final = 64
"""Of which everything is kept that is told of the first disagreement."""


@dataclass(slots=True, eq=False)
class UnconfirmedDisagreement:
    """One operation that does not agree."""

    begin_ns: int
    """When the first of the operations was entered that it was ordered with,"""
    end_ns: int
    """and when the last of them was over."""
    places: set[Place]
    """Where nothing has shown yet that no other call was at work."""
    from_state: bool
    """Whether it is a state that was read: the reference was made the same, and what is read later shows nothing."""
    overlaps: bool
    """Whether slots were found that were in use: what had them is gone from the reference, as it is from the kernel if
    it was being released."""
    by_itself: bool
    """Whether it is wrong whatever other calls did."""
    safety_violations: int
    divergence: Divergence | None


class UnconfirmedDisagreements:
    """The suspicions of a stream, oldest first.

    :param findings: where they are counted: as inconclusive until they are certain.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._open: list[UnconfirmedDisagreement] = []

    def __len__(self) -> int:
        return len(self._open)

    @property
    def tell_in_full(self) -> bool:
        """Whether the next one may become the first disagreement, and is to be told of in full."""
        return self._findings.first is None and len(self._open) < _MOST_IN_FULL

    def add(self, suspicion: UnconfirmedDisagreement) -> None:
        """An operation does not agree."""
        if suspicion.by_itself:
            self._is_certain(suspicion)
            return
        if len(self._open) >= _MOST:
            self._findings.doubt(Doubt.TOO_MANY_UNCERTAIN)
            return
        self._open.append(suspicion)
        self._findings.doubt(Doubt.NOT_CERTAIN)

    def known_before(self, time_ns: int) -> None:
        """Every call that was entered before is known: what ended before is certain."""
        self._now_certain(lambda suspicion: suspicion.end_ns < time_ns)

    def shown(self, place: Place, since_ns: int) -> None:
        """The state that was read from then on is the reference's in a place."""
        here = [suspicion for suspicion in self._open if place in suspicion.places and suspicion.end_ns < since_ns]
        if any(suspicion.from_state for suspicion in here):
            return  # then the reference was made what the kernel is
        for suspicion in here:
            if not suspicion.overlaps:
                suspicion.places.discard(place)
        if here:
            self._now_certain(lambda suspicion: not suspicion.places)

    def withdraw(self, why: Doubt, places: Collection[Place], until_ns: int) -> None:
        """A call was at work in these places, nobody knows since when, and returned then."""
        met = {one for one in self._open if one.begin_ns <= until_ns and not one.places.isdisjoint(places)}
        if met:
            self._open = [suspicion for suspicion in self._open if suspicion not in met]
            self._findings.doubt_no_more(Doubt.NOT_CERTAIN, len(met))
            self._findings.doubt(why, len(met))

    def withdraw_all(self, why: Doubt) -> None:
        """Nothing more will be known."""
        if self._open:
            self._findings.doubt_no_more(Doubt.NOT_CERTAIN, len(self._open))
            self._findings.doubt(why, len(self._open))
            self._open.clear()

    def _now_certain(self, certain: Callable[[UnconfirmedDisagreement], bool]) -> None:
        still_open = []
        for suspicion in self._open:
            if certain(suspicion):
                self._findings.doubt_no_more(Doubt.NOT_CERTAIN)
                self._is_certain(suspicion)
            else:
                still_open.append(suspicion)
        self._open = still_open

    def _is_certain(self, suspicion: UnconfirmedDisagreement) -> None:
        findings, told = self._findings, suspicion.divergence
        findings.disagree += 1
        findings.safety_violations += suspicion.safety_violations
        if told and (findings.first is None or told.operation < findings.first.operation):
            findings.first = told
