"""The maps that failed in a recording, by device and cause, and how it stood when the first of each kind did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from swiotlb_top.accounting.onlooker import Onlooker
from swiotlb_top.accounting.scene import Scene
from swiotlb_top.allocator import Cause
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Find, Map, Unmap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.stream import tell
from swiotlb_top.trace import whole
from swiotlb_top.verify import Failure, Listener, Moment

MOST_KINDS: Final = 64
"""Of how many kinds it is kept how it stood: of more, only how often a map failed."""


class Kind(NamedTuple):
    """Maps that failed alike."""

    dev: int
    cause: Cause


@dataclass(frozen=True)
class Refused:
    """What failed in a recording."""

    pipeline: Pipeline
    counts: Counter[Kind]
    firsts: dict[Kind, Scene]
    damage: str
    """Why it could not be read to its end."""

    @property
    def succeeded(self) -> int:
        """Maps that did not fail. What was given back at once is counted as a map, too."""
        given_back = sum(count for kind, count in self.counts.items() if kind.cause is Cause.UNREACHABLE)
        return self.pipeline.account.maps - given_back

    @property
    def unexplained(self) -> int:
        """Failed maps of which the reference says nothing."""
        return self.pipeline.account.map_failures - self.counts.total()


def refused(path: Path) -> Refused:
    """Judge a recording, and keep how it stood at the first failure of each kind.

    :raises UnreadableError: the file is no recording.
    :raises UsageError: it is partial.
    :raises CannotError: no revision is known for its kernel.
    """
    trace = whole(path)
    pipeline = Pipeline(trace.header.kernel)
    pipeline.judge.listen(_Noting)
    damage = ""
    try:
        for item in trace.stream():
            tell(item, pipeline)
            pipeline.keep_up()
    except UnreadableError as error:
        damage = str(error)
    pipeline.finish(whole=False)
    noted = pipeline.judge.listener
    if not pipeline.judge.left or not isinstance(noted, _Noting):  # of an unknown kernel nothing is claimed
        noted = _Noting()
    return Refused(pipeline, noted.counts, noted.firsts, damage)


class _Noting(Listener):
    """What one judge says of failed maps."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.firsts: dict[Kind, Scene] = {}
        self._onlooker = Onlooker()

    def failed_at(self, failure: Failure, moment: Moment) -> None:
        kind, call = Kind(failure.dev, failure.explanation.cause), failure.event
        self.counts[kind] += 1
        if kind not in self.firsts and len(self.firsts) < MOST_KINDS and isinstance(call, Find | Map | Unmap):
            self.firsts[kind] = self._onlooker.look(call, failure.explanation, moment)
