"""The judge's answer to each event of a recording, one byte an event.

Rows carry these answers, so the recording is judged first, and read a second time for its rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, failed_map
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.recording.overlaps import Overlaps
from swiotlb_top.stream import Consumer, Records, tell
from swiotlb_top.trace import TraceReader
from swiotlb_top.verify import Failure, Listener, Verdict

_INCONCLUSIVE, _AGREES, _DISAGREES, _ELSEWHERE = range(4)
_OF_UNKNOWN_KERNEL: Final = bytes.maketrans(bytes((_AGREES, _DISAGREES)), bytes((_INCONCLUSIVE, _INCONCLUSIVE)))
_WORDS: Final = (Verdict.INCONCLUSIVE.value, Verdict.AGREE.value, Verdict.DISAGREE.value, None)
_MOST_REASONS: Final = 1 << 16
"""How many different sentences are kept. A failure whose sentence is not among them keeps its cause only."""


class Why(NamedTuple):
    """Why a map failed."""

    cause: str
    sentence: str | None = None
    """None where it is not kept."""
    longest_free_slots: int | None = None
    """The longest free run in any area that the search asked; None where it is not kept."""


class Answers(Consumer):
    """Answers by the number of an event in the stream, and reasons by the number of a failed map, both from 0.

    The judge answers with the event object, so the number is looked up by ``id()``. An ``id()`` is reused only after
    every judge has dropped the object, and the later event then overwrites the number. If several revisions are judged
    side by side, each has its own answers; those of the likeliest revision that is left at the end count.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._places: dict[int, int] = {}
        self._failures: dict[int, int] = {}
        self._events = 0
        self._failed = 0
        self._reasons: dict[Why | None, int] = {None: 0}
        self._overlaps = Overlaps()
        self._reason_of: list[Why | None] = []
        self._overlap_of = bytearray()
        pipeline.judge.listen(lambda: _Said(self._places, self._failures, self._reasons))
        self._said = _Said(self._places, self._failures, self._reasons)

    # ---- the walk --------------------------------------------------------

    def take(self, trace: TraceReader) -> None:
        """Judge a recording up to its end, or to where it is damaged."""
        try:
            for item in trace.stream():
                tell(item, self if isinstance(item, Records) else self._pipeline)
        except UnreadableError:
            pass  # reading it again for the rows raises it to the caller
        self._pipeline.finish(whole=False)
        self._conclude()

    def feed(self, events: Sequence[Event]) -> None:
        for event in events:
            self._places[id(event)] = self._events
            self._events += 1
            if failed_map(event) is not None:
                self._failures[id(event)] = self._failed
                self._failed += 1
        self._overlaps.feed(events)
        self._pipeline.feed(events)
        self._pipeline.keep_up()

    def _conclude(self) -> None:
        judge = self._pipeline.judge
        if isinstance(judge.listener, _Said):
            self._said = judge.listener if judge.left else judge.listener.of_unknown_kernel()
        self._said.extend_to(self._events, self._failed)
        self._reason_of = list(self._reasons)
        self._overlap_of = self._overlaps.finish()
        # What the walk needed takes as much memory as the kernel's mappings.
        del self._pipeline, self._overlaps
        self._places.clear()

    # ---- answers, by number ------------------------------------------------

    def verdict(self, place: int) -> str | None:
        """The answer to an event: "agree", "disagree" or "inconclusive"; None if it is of another allocator."""
        return _WORDS[self._said.answers[place]]

    def overlap(self, place: int) -> int:
        """How many calls an event overlaps; 255 means 255 or more."""
        return self._overlap_of[place]

    def why(self, failure: int) -> Why | None:
        """Why a failed map failed; None if that is not known."""
        return self._reason_of[self._said.why[failure]]


class _Said(Listener):
    """The answers of one judge."""

    def __init__(self, places: dict[int, int], failures: dict[int, int], reasons: dict[Why | None, int]) -> None:
        self._places = places
        self._failures = failures
        self._reasons = reasons
        self.answers = bytearray()
        self.why = array("I")

    def agreed(self, event: Event) -> None:
        self._answer(event, _AGREES)

    def disagreed(self, event: Event) -> None:
        self._answer(event, _DISAGREES)

    def elsewhere(self, event: Event) -> None:
        self._answer(event, _ELSEWHERE)

    def explained(self, failure: Failure) -> None:
        explanation = failure.explanation
        why = Why(explanation.cause.value, explanation.sentence, explanation.longest_free_slots)
        if len(self._reasons) >= _MOST_REASONS and why not in self._reasons:
            why = Why(why.cause)
        place = self._failures[id(failure.event)]
        self.extend_to(0, place + 1)
        self.why[place] = self._reasons.setdefault(why, len(self._reasons))

    def extend_to(self, events: int, failures: int) -> None:
        """Make room for more answers, which are inconclusive, and for more reasons, which are not known."""
        self.answers += bytes(max(0, events - len(self.answers)))
        self.why.frombytes(bytes(self.why.itemsize * max(0, failures - len(self.why))))

    def of_unknown_kernel(self) -> _Said:
        """These answers if no known revision explains the kernel: see :meth:`Findings.of_unknown_kernel`."""
        unknown = _Said(self._places, self._failures, self._reasons)
        unknown.answers += self.answers.translate(_OF_UNKNOWN_KERNEL)
        return unknown

    def _answer(self, event: Event, answer: int) -> None:
        place = self._places[id(event)]
        self.extend_to(place + 1, 0)
        self.answers[place] = answer
