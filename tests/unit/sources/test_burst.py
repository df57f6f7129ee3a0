"""A burst is cut where it is more than is judged at a time: what is left is complete up to a moment that is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.records import DURATION_UNKNOWN, RECORD
from swiotlb_top.sources.burst import MOST_WHILE_COPIED, cut

COPIED_NS = 1_000_000
COMPLETE_NS = COPIED_NS + 350
LEAST_NS = 50
MOST = 8

Call = tuple[int, int]
"""When it was over, and how long it took."""

calls = st.lists(
    st.tuples(
        st.integers(COPIED_NS - 20, COPIED_NS + 400),
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
    kept, until_ns = cut(packed(calls), COPIED_NS, COMPLETE_NS, MOST, LEAST_NS)
    assert until_ns <= COMPLETE_NS
    gone = [call for call in calls if call not in unpacked(kept)]
    assert all(took_ns != DURATION_UNKNOWN and exit_ns - took_ns >= until_ns for exit_ns, took_ns in gone)


@given(calls)
def test_no_more_is_left_than_is_judged_but_for_what_a_moment_brings(calls: list[Call]) -> None:
    kept, until_ns = cut(packed(calls), COPIED_NS, COPIED_NS + 1_000, MOST, LEAST_NS)
    left = [exit_ns for exit_ns, took_ns in unpacked(kept) if took_ns != DURATION_UNKNOWN]
    before_the_last = sum(exit_ns < until_ns for exit_ns in left)  # some may have ended with it
    assert before_the_last < MOST or until_ns <= COPIED_NS + LEAST_NS or len(calls) <= MOST


def test_however_many_come_some_time_is_left_to_judge() -> None:
    crowded = taking_no_time(*(COPIED_NS + at // 100 for at in range(20_000)))
    kept, until_ns = cut(packed(crowded), COPIED_NS, COPIED_NS + 10_000, MOST, LEAST_NS)
    assert until_ns == COPIED_NS + LEAST_NS
    assert max(unpacked(kept)) == (COPIED_NS + LEAST_NS, 0)


def test_a_call_that_is_under_way_where_it_is_cut_stays_and_costs_none_of_what_it_overlapped() -> None:
    late = (COPIED_NS + 200, 137)
    calls = [*taking_no_time(*range(COPIED_NS + 60, COPIED_NS + 80)), late, (COPIED_NS + 210, 1)]
    kept, until_ns = cut(packed(calls), COPIED_NS, COPIED_NS + 10_000, MOST, LEAST_NS)
    assert until_ns == COPIED_NS + 67
    assert unpacked(kept) == [*taking_no_time(*range(COPIED_NS + 60, COPIED_NS + 68)), late]


def test_where_more_came_while_the_state_was_copied_than_can_be_made_out_no_more_is_kept_than_usual() -> None:
    crowded = taking_no_time(*(COPIED_NS - 30_000 + at for at in range(40_000)))
    assert sum(exit_ns <= COPIED_NS for exit_ns, _ in crowded) > MOST_WHILE_COPIED
    kept, until_ns = cut(packed(crowded), COPIED_NS, COPIED_NS + 10_000, MOST, LEAST_NS)
    assert (len(unpacked(kept)), until_ns) == (MOST, COPIED_NS - 30_000 + MOST - 1)


def test_what_cannot_be_complete_is_not_kept() -> None:
    crowded = taking_no_time(*range(COPIED_NS, COPIED_NS + 100))
    kept, until_ns = cut(packed(crowded), COPIED_NS, COPIED_NS + 5, MOST, LEAST_NS)
    assert (unpacked(kept), until_ns) == (taking_no_time(*range(COPIED_NS, COPIED_NS + 6)), COPIED_NS + 5)


def test_a_burst_that_is_not_too_much_is_as_it_was() -> None:
    few = packed(taking_no_time(*range(COPIED_NS, COPIED_NS + MOST)))
    assert cut(few, COPIED_NS, COPIED_NS + 500, MOST, LEAST_NS) == (few, COPIED_NS + 500)
