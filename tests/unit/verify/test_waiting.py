"""What waits is taken by time, whether it lies there as events or packed; and what is left packed overlaps nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top import native
from swiotlb_top.stream import Batch
from swiotlb_top.verify.operations import lone_calls
from swiotlb_top.verify.operations.lone_calls import Run
from swiotlb_top.verify.operations.observed import ObservedPoolList
from swiotlb_top.verify.waiting import Span, Waiting, spans_of
from tests.support.histories import found, released
from tests.support.native_builds import HAVE_COMPILER, build
from tests.support.packed import packed

pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="gcc is not installed")

LATEST_NS = 400
times = st.tuples(st.integers(1, LATEST_NS), st.sampled_from((0, 1, 2, 5, 20, 150)), st.booleans())
blocks = st.lists(st.lists(times, max_size=30), max_size=4)


@pytest.fixture(autouse=True, scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The core as it is here now, whatever was installed."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(native, "LIBRARY", str(build(tmp_path_factory.mktemp("core") / "core.so", "-O2")))
        native.loaded.cache_clear()
        yield
    native.loaded.cache_clear()


def waiting(of: list[list[tuple[int, int, bool]]], switch: str) -> Waiting:
    """Calls that were fed in blocks."""
    waits = Waiting()
    with patch.dict("os.environ", {native.SWITCH: switch}):
        for block in of:
            calls = [
                found(entry_ns, entry_ns + took_ns, 0) if maps else released(entry_ns, entry_ns + took_ns, 0)
                for entry_ns, took_ns, maps in block
            ]
            waits.add_packed(Batch(packed(calls)))
    return waits


def unpacked(spans: list[Span]) -> list[Span]:
    return [one for span in spans for one in (spans_of(span[2].events()) if isinstance(span[2], Run) else [span])]


@given(blocks, st.integers(0, LATEST_NS), st.integers(0, LATEST_NS))
def test_the_same_is_taken_whether_it_is_packed_or_not(
    of: list[list[tuple[int, int, bool]]], until_ns: int, run_after_ns: int
) -> None:
    with patch.object(lone_calls, "SHORTEST", 1):
        with_core, without = waiting(of, ""), waiting(of, "0")
        assert (len(with_core), with_core.first_ns, with_core.last_ns) == (
            len(without),
            without.first_ns,
            without.last_ns,
        )
        for time_ns in (until_ns, LATEST_NS * 2):
            taken, to_come_ns = with_core.take(time_ns, run_after_ns)
            events, earliest_ns = without.take(time_ns, run_after_ns)
            assert (unpacked(taken), to_come_ns) == (events, earliest_ns)
            assert (len(with_core), with_core.first_ns) == (len(without), without.first_ns)


@given(blocks, st.integers(0, LATEST_NS), st.integers(0, LATEST_NS))
def test_a_run_overlaps_nothing_and_so_does_no_call_in_it(
    of: list[list[tuple[int, int, bool]]], until_ns: int, run_after_ns: int
) -> None:
    with patch.object(lone_calls, "SHORTEST", 1):
        waits = waiting(of, "")
        taken, to_come_ns = waits.take(until_ns, run_after_ns)
    for exit_ns, entry_ns, run in taken:
        if isinstance(run, Run):
            assert run_after_ns < entry_ns
            assert exit_ns < min(to_come_ns, until_ns)
            assert [one for one in taken if one[1] <= exit_ns and entry_ns <= one[0] and one[2] is not run] == []
            calls = list(run.events())
            assert all(one.exit_ns < other.entry_ns for one, other in pairwise(calls))  # type: ignore[union-attr]


@pytest.mark.parametrize("entry_ns", [50, 105, 300])
def test_a_state_without_pools_hides_nothing_that_overlaps_a_run(entry_ns: int) -> None:
    """Its list of pools was over, so it seems, before reading it began."""
    calls = [(100, 5, True), (110, 5, True), (120, 5, True)]
    with patch.object(lone_calls, "SHORTEST", 1):
        waits = waiting([calls, [(108, 4, True)]], "")
        waits.add([(0, entry_ns, ObservedPoolList(entry_ns, 0, ()))])
        taken, _ = waits.take(LATEST_NS, 0)
    runs = [(entry_ns, exit_ns) for exit_ns, entry_ns, item in taken if isinstance(item, Run)]
    others = [
        (min(entry_ns, exit_ns), max(entry_ns, exit_ns))
        for exit_ns, entry_ns, item in taken
        if not isinstance(item, Run)
    ]
    assert [(run, other) for run in runs for other in others if run[0] <= other[1] and other[0] <= run[1]] == []
