"""What real kernels did, held in memory and written again: the same is judged, and nothing is counted twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.errors import CannotError
from swiotlb_top.events import Gap
from swiotlb_top.flight.segments import Segments
from swiotlb_top.probes.read.program import Calls
from swiotlb_top.records import RECORD_BYTES
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import Consumer, End, Records, tell
from swiotlb_top.trace import Header, TraceReader
from swiotlb_top.trace.introductions import Introductions
from tests.support.doctoring import FOUR_AREAS, GROWING, STALL

LIMIT_BYTES = 64 << 20
HEADER = TraceReader(GROWING).header
ITEMS = [*TraceReader(GROWING).stream()]
STATE = next(item for item in ITEMS if isinstance(item, MemState))
PACKED = b"".join(item.data for item in ITEMS if isinstance(item, Records))[: 3000 * RECORD_BYTES]


class Held(Consumer):
    """Puts a recording into segments."""

    def __init__(self, path: Path) -> None:
        trace = TraceReader(path)
        self.header: Header = trace.header
        self.known = Introductions()
        self.segments = Segments(trace.header, LIMIT_BYTES, self.known)
        for item in trace.stream():
            if isinstance(item, Records):
                self.known.records(item.data)
                self.segments.records(item.data)
            else:
                tell(item, self)

    def state(self, mem: MemState) -> None:
        self.segments.state(mem)

    def name(self, name: DeviceName) -> None:
        self.known.name(name)
        self.segments.device_name(name)

    def gap(self, gap: Gap) -> None:
        self.segments.gap(gap)

    def known_before(self, time_ns: int) -> None:
        self.segments.known(time_ns)

    def end(self, end: End) -> None:
        self.segments.end(end.counters, end.duration_ns, end.lost)


@pytest.mark.parametrize("path", [GROWING, STALL, FOUR_AREAS], ids=lambda path: path.stem)
def test_a_whole_recording_is_judged_as_it_was(path: Path, tmp_path: Path) -> None:
    held = Held(path)
    held.segments.write(tmp_path / "a.swtrace", held.header, Calls())
    before, after = (replay(each).as_json() for each in (path, tmp_path / "a.swtrace"))
    for name in ("recording", "file", "path", "duration_seconds", "seconds"):
        before.pop(name, None), after.pop(name, None)
    assert after == before


def test_where_nothing_is_held_nothing_is_written(tmp_path: Path) -> None:
    header = TraceReader(STALL).header
    segments = Segments(header, LIMIT_BYTES, Introductions())
    segments.end({}, 0, 0)
    with pytest.raises(CannotError, match="nothing is recorded"):
        segments.write(tmp_path / "a.swtrace", header, Calls())
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_whatever_comes_it_takes_no_more_than_its_limit_and_what_it_writes_can_be_read(data: st.DataObject) -> None:
    limit_bytes = data.draw(st.sampled_from((20_000, 50_000, 200_000)))
    segments = Segments(HEADER, limit_bytes, Introductions())
    segments.state(STATE)
    for size in data.draw(st.lists(st.integers(0, 3000), max_size=40)):
        if size % 7 == 0:
            segments.state(STATE)
        segments.records(PACKED[: size * RECORD_BYTES])
        assert segments.size_bytes <= limit_bytes
    segments.end({}, 0, 0)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a.swtrace")
        if segments.begin_ns is None:
            with pytest.raises(CannotError, match="nothing is recorded"):
                segments.write(path, HEADER, Calls())
        else:
            segments.write(path, HEADER, Calls())
            first, *_ = TraceReader(path).stream()
            assert isinstance(first, MemState)
