"""A burst is cut where it is more than is judged at a time: what is left is complete up to a moment that is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.records import DURATION_UNKNOWN, RECORD
from swiotlb_top.sources.burst import cut

BEGIN_NS = 1_000_000
COMPLETE_NS = BEGIN_NS + 350
LEAST_NS = 50
MOST = 8

Call = tuple[int, int]
"""When it was over, and how long it took."""

calls = st.lists(
    st.tuples(
        st.integers(BEGIN_NS - 20, BEGIN_NS + 400),
        st.one_of(st.integers(0, 30), st.integers(0, 400), st.just(DURATION_UNKNOWN)),
    ),
    max_size=40,
).map(sorted)


def packed(calls: list[Call]) -> bytes:
    return b"".join(RECORD.pack(exit_ns, took_ns, *[0] * 10) for exit_ns, took_ns in calls)


def unpacked(records: bytes) -> list[Call]:
    return [(fields[0], fields[1]) for fields in RECORD.iter_unpack(records)]


def taking_no_time(*exits_ns: int) -> list[Call]:
    return [(exit_ns, 0) for exit_ns in exits_ns]


@given(calls)
def test_whatever_was_entered_before_the_moment_that_is_told_is_left(calls: list[Call]) -> None:
    kept, until_ns = cut(packed(calls), BEGIN_NS, COMPLETE_NS, MOST, LEAST_NS)
    assert until_ns <= COMPLETE_NS
    gone = [call for call in calls if call not in unpacked(kept)]
    assert all(took_ns != DURATION_UNKNOWN and exit_ns - took_ns >= until_ns for exit_ns, took_ns in gone)


@given(calls)
def test_no_more_is_left_than_is_judged_but_for_what_a_moment_brings(calls: list[Call]) -> None:
    kept, _ = cut(packed(calls), BEGIN_NS, BEGIN_NS + 1_000, MOST, LEAST_NS)
    left = [exit_ns for exit_ns, took_ns in unpacked(kept) if took_ns != DURATION_UNKNOWN]
    before_the_last = sum(exit_ns < max(left, default=0) for exit_ns in left)  # some may have ended with it
    assert before_the_last < MOST or max(left) <= BEGIN_NS + LEAST_NS


def test_however_many_come_some_time_is_left_to_judge() -> None:
    crowded = taking_no_time(*(BEGIN_NS + at // 100 for at in range(20_000)))
    kept, until_ns = cut(packed(crowded), BEGIN_NS, BEGIN_NS + 10_000, MOST, LEAST_NS)
    assert until_ns == BEGIN_NS + LEAST_NS
    assert max(unpacked(kept)) == (BEGIN_NS + LEAST_NS, 0)


def test_a_call_that_is_left_out_takes_with_it_what_it_overlapped() -> None:
    calls = [*taking_no_time(*range(BEGIN_NS + 60, BEGIN_NS + 80)), (BEGIN_NS + 200, 137)]
    _, until_ns = cut(packed(calls), BEGIN_NS, BEGIN_NS + 10_000, MOST, LEAST_NS)
    assert until_ns == BEGIN_NS + 63


def test_a_burst_that_is_not_too_much_is_as_it_was() -> None:
    few = packed(taking_no_time(*range(BEGIN_NS, BEGIN_NS + MOST)))
    assert cut(few, BEGIN_NS, BEGIN_NS + 500, MOST, LEAST_NS) == (few, BEGIN_NS + 500)
