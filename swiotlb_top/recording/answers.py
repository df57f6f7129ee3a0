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
_WORDS: Final = (Verdict.INCONCLUSIVE.value, Verdict.AGREE.value, Verdict.DISAGREE.value, None)
_MOST_REASONS: Final = 1 << 16
"""So many different sentences are kept; of a failure with another one, the cause alone."""

Why = tuple[str, str | None]
"""A cause in a word, and in a sentence where that is kept."""


class Answers(Consumer, Listener):
    """Answers by the place of an event in the stream, from 0; and reasons, by the place of a failed map among those.

    An event is known again by where it lies in memory, for as long as the judge has it. What the judge is done with
    lies there no more, and a later event that does takes the place.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        pipeline.judge.findings.listener = self
        self._answers = bytearray()
        self._places: dict[int, int] = {}
        self._failures: dict[int, int] = {}
        self._why = array("I")
        self._reasons: dict[Why | None, int] = {None: 0}
        self._overlaps = Overlaps()
        self._reason_of: list[Why | None] = []
        self._overlap_of = bytearray()

    # ---- the walk --------------------------------------------------------

    def take(self, trace: TraceReader) -> None:
        """Judge a recording as far as it can be read."""
        try:
            for item in trace.stream():
                tell(item, self if isinstance(item, Records) else self._pipeline)
        except UnreadableError:
            pass  # the second walk meets it, too
        self._pipeline.finish(whole=False)
        self._reason_of = list(self._reasons)
        self._overlap_of = self._overlaps.finish()

    def feed(self, events: Sequence[Event]) -> None:
        place = len(self._answers)
        self._answers += bytes(len(events))
        for event in events:
            self._places[id(event)] = place
            place += 1
            if isinstance(event, Find | Map) and event.failed:
                self._failures[id(event)] = len(self._why)
                self._why.append(0)
        self._overlaps.feed(events)
        self._pipeline.feed(events)
        self._pipeline.keep_up()

    # ---- what the judge tells ----------------------------------------------

    def agreed(self, event: Event) -> None:
        self._answers[self._places[id(event)]] = _AGREES

    def disagreed(self, event: Event) -> None:
        self._answers[self._places[id(event)]] = _DISAGREES

    def elsewhere(self, event: Event) -> None:
        self._answers[self._places[id(event)]] = _ELSEWHERE

    def explained(self, failure: Failure) -> None:
        cause, sentence = failure.explanation.cause.value, failure.explanation.sentence
        known = len(self._reasons) < _MOST_REASONS or (cause, sentence) in self._reasons
        why = (cause, sentence if known else None)
        self._why[self._failures[id(failure.event)]] = self._reasons.setdefault(why, len(self._reasons))

    # ---- what is asked -----------------------------------------------------

    def verdict(self, place: int) -> str | None:
        """On the event at a place: "agree", "disagree", "inconclusive"; None: on another allocator."""
        return _WORDS[self._answers[place]]

    def overlap(self, place: int) -> int:
        """How many calls the event at a place overlaps; 255: or more."""
        return self._overlap_of[place]

    def why(self, failure: int) -> Why | None:
        """The reason of the nth failed map, from 0; None: not known."""
        return self._reason_of[self._why[failure]]
