"""A driver that is refused tries again: what it asks for is one need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.sizing.assumptions import Topic
from swiotlb_top.sizing.need import Need
from swiotlb_top.sizing.recordings import read
from swiotlb_top.sizing.retries import RETRY_NS, Attempts, bracket
from tests.support.doctoring import STALL
from tests.support.made_recordings import BUFFER, DISK, need, spans

END_NS = 100 * RETRY_NS
MS = 1_000_000
OTHER = BUFFER + (1 << 20)
CARD = DISK + 1


def refused(at_ns: int, nslots: int = 8, orig_addr: int = BUFFER, dev: int = DISK) -> Need:
    return need(at_ns, at_ns, nslots, orig_addr=orig_addr, dev=dev)


def test_where_nothing_failed_least_and_most_are_one_list() -> None:
    had = [need(5, 9, 2), need(1, 3, 1)]
    made = bracket(Attempts(had, []), END_NS)
    assert made.least is made.most
    assert spans(made.least) == [(1, 3, 1), (5, 9, 2)]


def test_attempts_up_to_the_one_that_succeeds_are_one_need_from_the_first() -> None:
    tries = [refused(at * MS) for at in range(1, 5)]
    made = bracket(Attempts([need(5 * MS, 7 * MS, 8)], tries), END_NS)
    assert spans(made.least) == [(MS, 3 * MS, 8)]  # as long as it was had in the end
    assert spans(made.most) == [(MS, 7 * MS, 8)]
    assert (made.failed_needs, made.never_had) == (1, 0)


def test_attempts_too_far_apart_are_needs_of_their_own() -> None:
    made = bracket(Attempts([], [refused(0), refused(RETRY_NS + 1)]), END_NS)
    assert len(made.most) == made.failed_needs == 2


def test_another_size_or_device_is_another_need() -> None:
    made = bracket(Attempts([], [refused(0), refused(1, 9), refused(2, dev=CARD), refused(3, orig_addr=OTHER)]), END_NS)
    assert made.failed_needs == 4


def test_what_never_had_slots_lives_as_short_and_as_long_as_others_of_its_device() -> None:
    others = [
        need(0, 2 * MS, 1, orig_addr=OTHER),
        need(0, 5 * MS, 1, orig_addr=OTHER + 1),
        need(0, 99 * MS, 1, dev=CARD),
    ]
    made = bracket(Attempts(others, [refused(10 * MS)]), END_NS)
    assert (10 * MS, 12 * MS, 8) in spans(made.least)
    assert (10 * MS, 15 * MS, 8) in spans(made.most)
    assert (made.never_had, made.endless) == (1, 0)


def test_without_any_lifetime_of_its_device_it_lives_from_nothing_to_the_end() -> None:
    made = bracket(Attempts([], [refused(10 * MS)]), END_NS)
    assert spans(made.least) == [(10 * MS, 10 * MS, 8)]
    assert spans(made.most) == [(10 * MS, END_NS, 8)]
    assert made.endless == 1


def test_what_was_released_in_the_course_of_a_failure_may_have_lived_longer() -> None:
    """The driver gives up what else it had mapped for the same I/O, and maps it again with the next attempt."""
    had = [need(at * MS, at * MS + 10, 4, orig_addr=OTHER) for at in (1, 2, 3)]
    made = bracket(Attempts(had, [refused(at * MS + 5) for at in (1, 2, 3)]), END_NS)
    assert spans(made.least)[:2] == [(MS, MS + 10, 4), (MS + 5, MS + 15, 8)]
    assert spans(made.most) == [(MS, END_NS, 4), (MS + 5, END_NS, 8)]


def test_a_device_whose_maps_never_failed_is_not_touched() -> None:
    had = [need(1, 9, 4, dev=CARD)]
    made = bracket(Attempts(had, [refused(5)]), END_NS)
    assert had[0] in made.least
    assert had[0] in made.most


def test_521_failed_maps_of_a_stalled_disk_are_one_need() -> None:
    """Each attempt maps a header and two segments of a request, and fails at the second segment."""
    made = read(STALL)
    assert (made.failures, made.failed_needs, made.maps) == (521, 1, 1042)
    assert [one.starts.nslots for one in made.most] == [1, 128, 128]
    assert {Topic.OPEN_LOOP, Topic.RETRIES, Topic.LIFETIMES} == {one.topic for one in made.assumptions}
    assert [one.topic for one in made.assumptions if one.may_need_more] == [Topic.OPEN_LOOP]


attempts = st.lists(
    st.tuples(st.integers(0, 4 * RETRY_NS), st.integers(0, RETRY_NS), st.integers(1, 3), st.booleans()), max_size=12
)


@given(attempts)
def test_most_covers_least(tried: list[tuple[int, int, int, bool]]) -> None:
    """At any time, what is held in the one is no more than in the other."""
    had = [need(at, at + life, 4, orig_addr=buffer << 20) for at, life, buffer, failed in tried if not failed]
    failed = [refused(at, orig_addr=buffer << 20) for at, _, buffer, failed in tried if failed]
    end_ns = max((at + life for at, life, _, _ in tried), default=0)
    made = bracket(Attempts(had, failed), end_ns)
    for at, *_ in tried:
        for buffer in (1, 2, 3):
            there = [sum(one.request.orig_addr >> 20 == buffer and one.had_ns <= at <= one.freeing_ns for one in side)
                     for side in (made.least, made.most)]  # fmt: skip
            assert not there[0] or there[1]
