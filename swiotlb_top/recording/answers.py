"""What the judge says of each event of a recording, kept in a byte an event: a first walk, before the rows are made."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Event, Find, Map
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.recording.overlaps import Overlaps
from swiotlb_top.stream import Consumer, Records, tell
from swiotlb_top.trace import TraceReader
from swiotlb_top.verify import Failure, Listener, Verdict

_INCONCLUSIVE, _AGREES, _DISAGREES, _ELSEWHERE = range(4)
_OF_UNKNOWN_KERNEL: Final = bytes.maketrans(bytes((_AGREES, _DISAGREES)), bytes((_INCONCLUSIVE, _INCONCLUSIVE)))
_WORDS: Final = (Verdict.INCONCLUSIVE.value, Verdict.AGREE.value, Verdict.DISAGREE.value, None)
_MOST_REASONS: Final = 1 << 16
"""So many different sentences are kept; of a failure with another one, the cause alone."""

Why = tuple[str, str | None]
"""A cause in a word, and in a sentence where that is kept."""


class Answers(Consumer):
    """Answers by the place of an event in the stream, from 0; and reasons, by the place of a failed map among those.

    An event is known again by where it lies in memory, for as long as a judge has it. What all judges are done with
    lies there no more, and a later event that does takes the place. Where several revisions are judged side by side,
    what each says is kept for as long as its judge is; in the end that of the likeliest that is left counts.
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
        """Judge a recording as far as it can be read."""
        try:
            for item in trace.stream():
                tell(item, self if isinstance(item, Records) else self._pipeline)
        except UnreadableError:
            pass  # the second walk meets it, too
        self._pipeline.finish(whole=False)
        self._conclude()

    def feed(self, events: Sequence[Event]) -> None:
        for event in events:
            self._places[id(event)] = self._events
            self._events += 1
            if isinstance(event, Find | Map) and event.failed:
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

    # ---- what is asked -----------------------------------------------------

    def verdict(self, place: int) -> str | None:
        """On the event at a place: "agree", "disagree", "inconclusive"; None: on another allocator."""
        return _WORDS[self._said.answers[place]]

    def overlap(self, place: int) -> int:
        """How many calls the event at a place overlaps; 255: or more."""
        return self._overlap_of[place]

    def why(self, failure: int) -> Why | None:
        """The reason of the nth failed map, from 0; None: not known."""
        return self._reason_of[self._said.why[failure]]


class _Said(Listener):
    """What one judge says."""

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
        cause, sentence = failure.explanation.cause.value, failure.explanation.sentence
        known = len(self._reasons) < _MOST_REASONS or (cause, sentence) in self._reasons
        why = (cause, sentence if known else None)
        place = self._failures[id(failure.event)]
        self.extend_to(0, place + 1)
        self.why[place] = self._reasons.setdefault(why, len(self._reasons))

    def extend_to(self, events: int, failures: int) -> None:
        """Be at least so long: of what nothing was said, nothing is known."""
        self.answers += bytes(max(0, events - len(self.answers)))
        self.why.frombytes(bytes(self.why.itemsize * max(0, failures - len(self.why))))

    def of_unknown_kernel(self) -> _Said:
        """The same if it is not known what the kernel should have done: see :meth:`Findings.of_unknown_kernel`."""
        unknown = _Said(self._places, self._failures, self._reasons)
        unknown.answers += self.answers.translate(_OF_UNKNOWN_KERNEL)
        return unknown

    def _answer(self, event: Event, answer: int) -> None:
        place = self._places[id(event)]
        self.extend_to(place + 1, 0)
        self.answers[place] = answer
