"""Which revision explains which recording: ``python -m tests.support.explained [FILE...]`` prints the table.

A revision explains a recording if the judge, told to judge by it, finds no disagreement. More than one
may: what they differ in did not come up. Of a long recording the first operations are judged only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from swiotlb_top.allocator import REVISIONS
from swiotlb_top.events import Find, Gap, Map, Unmap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.state import MemState
from swiotlb_top.trace import Records, TraceReader

_TESTS: Final = Path(__file__).resolve().parents[1]
RECORDINGS: Final = (
    *sorted((_TESTS.parent / "swiotlb_top" / "recordings").glob("*.swtrace")),
    *sorted((_TESTS / "traces").glob("*.swtrace")),
)
FIRST_EVENTS: Final = 10_000


class Judged(NamedTuple):
    """What a revision makes of a recording."""

    revision: str
    compared: int
    disagree: int


def judged(path: Path, revision: str | None = None) -> Judged:
    """Judge a recording's first events by a revision; None: by its kernel's own.

    The lab made these recordings, and no call was under way when they ended. Of one that is cut after its first events,
    everything is known up to the earliest entry behind the cut.
    """
    trace = TraceReader(path)
    pipeline = Pipeline(trace.header.kernel, revision)
    left = FIRST_EVENTS
    for item in trace:
        if isinstance(item, MemState):
            pipeline.state(item)
        elif isinstance(item, Gap):
            pipeline.gap(item)
        elif isinstance(item, Records):
            coming = iter(item.events())
            events = list(islice(coming, left))
            pipeline.feed(events)
            left -= len(events)
            if not left:
                cut_ns = events[-1].exit_ns
                behind = (
                    event.entry_ns for event in coming if isinstance(event, Find | Map | Unmap) and event.entry_ns
                )
                pipeline.known_before(min(behind, default=cut_ns))
                break
    findings = pipeline.finish(whole=bool(left))
    return Judged(pipeline.judge.revision.name, findings.compared, findings.disagree)


def table(paths: Iterable[Path]) -> Iterator[str]:
    """A line a recording: its kernel's revision, and of each revision how many operations disagree."""
    heads = [name if len(name) <= 7 else "order" for name in REVISIONS]
    yield f"{'recording':28} {'compared':>8}  {'own':8}{''.join(f'{head:>9}' for head in heads)}"
    for path in paths:
        own = judged(path)
        if not own.compared:
            continue
        counts = [judged(path, name).disagree or "-" for name in REVISIONS]
        yield f"{path.stem:28} {own.compared:8}  {own.revision:8}{''.join(f'{count:>9}' for count in counts)}"


if __name__ == "__main__":
    for line in table([Path(name) for name in sys.argv[1:]] or RECORDINGS):
        print(line, flush=True)
