"""Disagreements that are not confirmed yet.

A stream has no record of a pending call, one that has not responded, and does not show when some calls were invoked. A
pending call may have taken or freed slots already; operations that meet its effects disagree with a model that does not
know it. So a disagreement is unconfirmed at first, unless no other call can be the reason (slots beyond a pool's end).

It is confirmed

- when all calls are known that were invoked before it ended, or,
- in a stream that never tells which calls are known (recordings of before that was noted), when the kernel's state,
  read later, is equal to the model's in each area that it concerns: a pending call would still have its slots there, or
  would have freed them. Where the model was made equal to the kernel, that proves nothing.

It is withdrawn, and counts as inconclusive, when a call turns up that may have been pending at that time, or when
neither can be known any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Set
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from swiotlb_top.events import Event
from swiotlb_top.verify.faults import Fault
from swiotlb_top.verify.findings import Divergence, Doubt, Findings
from swiotlb_top.verify.operations.domains import Area

POOL_LIST: Final = None
"""The place of the list of pools, beside the areas of pools."""
Place: TypeAlias = Area | None
"""Where an operation reads or changes something: an area, or :data:`POOL_LIST`."""

_MAX_OPEN: Final = 100_000
"""How many unconfirmed disagreements are kept. Those beyond are inconclusive for good."""
MOST_UNTOLD: Final = 10_000
"""How many are kept in a stream that does not tell which calls are known. With so many, the stream is given up."""
_MAX_SETS: Final = 1024
"""How many sets of places are kept at a time, to find equal ones."""
MOST_IN_FULL: Final = 16
"""For how many of each kind everything is kept that a report says of the first disagreement of its kind."""
MOST_IN_BRIEF: Final = 10_000
"""For how many of all kinds, beyond those, it is kept without pictures and orders."""


class Detail(Enum):
    """How much is kept of a disagreement for a report."""

    NOTHING = 0
    BRIEF = 1
    FULL = 2


@dataclass(slots=True, eq=False)
class UnconfirmedDisagreement:
    """One operation that does not agree with the model."""

    begin_ns: int
    """The first invocation among the operations that it was put in order with."""
    end_ns: int
    """The last response among them."""
    places: frozenset[Place]
    """The places where another call may have had effects: no later state has shown that there was none."""
    adopted: bool
    """Whether the model was then made equal to what the kernel showed, so that a later state shows nothing.

    That is so of a part of a snapshot, and of slots that were found in use: the mapping that had them is gone from the
    model, as it is from the kernel if a pending call released it. And the slots may be another call's in the kernel.
    """
    is_certain: bool
    """Whether it is a fault whatever other calls did."""
    safety_violations: int
    """How many safety rules it breaks."""
    event: Event | None
    """Its record; None if it is part of a snapshot of the kernel's state."""
    fault: Fault
    """Its kind."""
    divergence: Divergence | None
    """What a report says of it, if it may become the first disagreement of its kind."""

    @property
    def is_in_full(self) -> bool:
        """Whether everything is kept that a report says of it."""
        return self.divergence is not None and self.divergence.orders is not None


class UnconfirmedDisagreements:
    """The unconfirmed disagreements of a stream, oldest first.

    :param findings: where they are counted, as inconclusive until they are confirmed.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._open: list[UnconfirmedDisagreement] = []
        self._places: dict[frozenset[Place], frozenset[Place]] = {}
        """Sets of places that disagreements have in common, so that each is kept once."""
        self._in_full = Counter[Fault]()
        """How many of each kind are open of which everything is kept."""
        self._adopted = set[Place]()
        """Where the model was made equal to the kernel for operations that are inconclusive."""
        self.states_tell = True
        """Whether a later state may confirm any."""

    def __len__(self) -> int:
        return len(self._open)

    def wanted(self, fault: Fault) -> Detail:
        """How much of a :class:`Divergence` the next disagreement of a kind needs: it may become the first of it."""
        if fault in self._findings.firsts:
            return Detail.NOTHING
        if self._in_full[fault] < MOST_IN_FULL:
            return Detail.FULL
        return Detail.BRIEF if len(self._open) < MOST_IN_BRIEF else Detail.NOTHING

    @property
    def first_is_known(self) -> bool:
        """Whether a disagreement is confirmed, and none that is still open came before it."""
        first = self._findings.first
        earlier = self._open[0].divergence if self._open else None
        return first is not None and not (earlier and earlier.operation < first.operation)

    @property
    def is_hopeless(self) -> bool:
        """Whether more are open than states will confirm: then comparing more would cost much, and tell nothing."""
        return self.states_tell and len(self._open) >= MOST_UNTOLD

    def add(self, disagreement: UnconfirmedDisagreement) -> None:
        """Add a disagreement."""
        if disagreement.is_certain:
            self._confirm(disagreement)
            return
        if len(self._open) >= _MAX_OPEN:
            self._findings.doubt(Doubt.TOO_MANY_UNCERTAIN)
            return
        disagreement.places = self._kept_once(disagreement.places)
        self._open.append(disagreement)
        if disagreement.is_in_full:
            self._in_full[disagreement.fault] += 1
        self._findings.doubt(Doubt.NOT_CERTAIN)

    def adopted(self, places: Set[Place]) -> None:
        """The model was made equal to what the kernel did, for operations that are inconclusive."""
        self._adopted |= places

    def will_be_told(self) -> None:
        """The stream tells which calls are known, so that states need not."""
        self.states_tell = False

    def known_before(self, time_ns: int) -> None:
        """All calls that were invoked before ``time_ns`` are known: confirm the disagreements that ended before it."""
        self._confirm_if(lambda disagreement: disagreement.end_ns < time_ns)

    def state_agreed(self, place: Place, since_ns: int) -> None:
        """A state of the kernel was equal to the model's: confirm the disagreements that now have no place left.

        :param place: what was compared.
        :param since_ns: when reading it began.
        """
        if not self.states_tell or place in self._adopted:
            return
        here = [
            disagreement
            for disagreement in self._open
            if place in disagreement.places and disagreement.end_ns < since_ns
        ]
        if any(disagreement.adopted for disagreement in here):
            return
        without: dict[frozenset[Place], frozenset[Place]] = {}
        for disagreement in here:
            before = disagreement.places
            disagreement.places = without[before] = without.get(before) or self._kept_once(before - {place})
        if here:
            self._confirm_if(lambda disagreement: not disagreement.places)

    def withdraw(self, why: Doubt, places: Collection[Place], until_ns: int) -> None:
        """Withdraw the disagreements that a late call may explain.

        :param why: the reason for which they are inconclusive now.
        :param places: where that call was at work.
        :param until_ns: its response. When it took effect is not known.
        """
        met = {one for one in self._open if one.begin_ns <= until_ns and not one.places.isdisjoint(places)}
        if met:
            self._stay([disagreement for disagreement in self._open if disagreement not in met])
            self._findings.doubt_no_more(Doubt.NOT_CERTAIN, len(met))
            self._findings.doubt(why, len(met))

    def withdraw_all(self, why: Doubt) -> None:
        """Withdraw all of them: nothing more will be known.

        :param why: the reason for which they are inconclusive now.
        """
        if self._open:
            self._findings.doubt_no_more(Doubt.NOT_CERTAIN, len(self._open))
            self._findings.doubt(why, len(self._open))
            self._stay([])

    def _kept_once(self, places: frozenset[Place]) -> frozenset[Place]:
        if len(self._places) >= _MAX_SETS:
            self._places.clear()
        return self._places.setdefault(places, places)

    def _confirm_if(self, certain: Callable[[UnconfirmedDisagreement], bool]) -> None:
        still_open = []
        for disagreement in self._open:
            if certain(disagreement):
                self._findings.doubt_no_more(Doubt.NOT_CERTAIN)
                self._confirm(disagreement)
            else:
                still_open.append(disagreement)
        self._stay(still_open)

    def _stay(self, still_open: list[UnconfirmedDisagreement]) -> None:
        self._open = still_open
        self._in_full = Counter(one.fault for one in still_open if one.is_in_full)

    def _confirm(self, disagreement: UnconfirmedDisagreement) -> None:
        self._findings.disagreed(
            disagreement.event, disagreement.safety_violations, disagreement.fault, disagreement.divergence
        )
