"""A burst is cut where it is more than is judged at a time, and what is left can be judged to a moment that is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.events import RECORD
from swiotlb_top.sources.burst import cut

BEGIN_NS = 1_000_000
UNDER_WAY_NS = 50
MOST = 8

times = st.lists(st.integers(BEGIN_NS - 20, BEGIN_NS + 400), max_size=40).map(sorted)


def packed(exits_ns: list[int]) -> bytes:
    return b"".join(exit_ns.to_bytes(RECORD.size, "little") for exit_ns in exits_ns)


def unpacked(records: bytes) -> list[int]:
    return [int.from_bytes(records[at : at + 8], "little") for at in range(0, len(records), RECORD.size)]


@given(times)
def test_what_is_left_is_complete_up_to_the_moment_that_is_told(exits_ns: list[int]) -> None:
    complete_ns = BEGIN_NS + 350
    kept, until_ns = cut(packed(exits_ns), BEGIN_NS, complete_ns, MOST, UNDER_WAY_NS)
    assert until_ns <= complete_ns
    due = exits_ns if until_ns == complete_ns else [ns for ns in exits_ns if ns <= until_ns + UNDER_WAY_NS]
    assert unpacked(kept) == due


@given(times)
def test_no_more_is_left_than_is_judged_but_for_what_a_moment_brings(exits_ns: list[int]) -> None:
    kept, _ = cut(packed(exits_ns), BEGIN_NS, BEGIN_NS + 1_000, MOST, UNDER_WAY_NS)
    left = unpacked(kept)
    before_the_last = sum(ns < left[-1] for ns in left)  # some may have ended with it
    assert before_the_last < MOST or left[-1] <= BEGIN_NS + 2 * UNDER_WAY_NS


def test_however_many_come_some_time_is_left_to_judge() -> None:
    crowded = [BEGIN_NS + at // 100 for at in range(20_000)]
    kept, until_ns = cut(packed(crowded), BEGIN_NS, BEGIN_NS + 10_000, MOST, UNDER_WAY_NS)
    assert until_ns == BEGIN_NS + UNDER_WAY_NS
    assert max(unpacked(kept)) == BEGIN_NS + 2 * UNDER_WAY_NS


def test_a_burst_that_is_not_too_much_is_as_it_was() -> None:
    few = packed([BEGIN_NS + at for at in range(MOST)])
    assert cut(few, BEGIN_NS, BEGIN_NS + 500, MOST, UNDER_WAY_NS) == (few, BEGIN_NS + 500)
