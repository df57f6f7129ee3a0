"""The recordings that are here, and what each revision makes of them, as ``replay --revision all`` says.

Of a long recording the first operations are judged only. The lab made these recordings, and no call was under way when
they ended. Of one that is cut after its first events, everything is known up to the earliest entry behind the cut.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from swiotlb_top.records import Kind
from swiotlb_top.reports.explained import ExplainedReport, explained
from swiotlb_top.stream import End, Known
from tests.support.doctoring import Entry, Record, load, save, with_no_call_under_way

_TESTS: Final = Path(__file__).resolve().parents[1]
RECORDINGS: Final = (
    *sorted((_TESTS.parent / "swiotlb_top" / "recordings").glob("*.swtrace")),
    *sorted((_TESTS / "traces").glob("*.swtrace")),
)
FIRST_EVENTS: Final = 10_000
_CALLS: Final = (Kind.FIND, Kind.MAP, Kind.UNMAP)
_UNSEEN: Final = 0xFFFF_FFFF


def beginning(path: Path) -> list[Entry]:
    """A recording's first events."""
    entries = load(path)
    records = [at for at, entry in enumerate(entries) if isinstance(entry, Record)]
    if len(records) <= FIRST_EVENTS:
        return with_no_call_under_way(entries)
    at = records[FIRST_EVENTS]
    behind = [
        entry.entry_ns
        for entry in entries[at:]
        if isinstance(entry, Record) and entry.kind in _CALLS and entry.duration_ns != _UNSEEN
    ]
    return [*entries[:at], Known(min(behind)), End({}, 0, 0)]


def of_the_beginning(path: Path, directory: Path) -> ExplainedReport:
    """What each revision makes of a recording's first events.

    :param directory: where they can be written.
    """
    return explained(save(beginning(path), directory / path.name))
