"""Operations that overlap, of which some are wrong: these are named, and no others."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import Pool, Request
from swiotlb_top.events import Event
from swiotlb_top.verify import Doubt, Findings, comparison
from tests.support.histories import (
    DEV,
    LIMITS,
    POOL,
    SLOT_BYTES,
    START,
    empty_pool,
    found,
    judging,
    machine,
    released,
    state_of,
)

BEGUN_NS: Final = 1000
OVER_NS: Final = 2000
WRONG: Final = (100, 200, 300)
"""Slots that are free, and none of them the first that is."""


def overlapping(*slots: int) -> list[Event]:
    """Searches that were all under way at once, by what they found, in the order they ended."""
    return [found(BEGUN_NS, OVER_NS + at, slot) for at, slot in enumerate(slots)]


def judged(events: list[Event], nslabs: int = 512) -> Findings:
    judge = judging(machine(state_of(empty_pool(nslabs))))
    judge.feed(events)
    return judge.finish()


def test_each_of_several_wrong_searches_is_named_and_once() -> None:
    findings = judged(overlapping(*range(8), *WRONG))
    assert (findings.disagree, findings.agree, findings.inconclusive) == (3, 8, 0)
    assert findings.safety_violations == 0


def test_what_only_follows_the_wrong_one_is_not_to_blame_though_it_ended_first() -> None:
    right, after_wrong, wrong = found(BEGUN_NS, 2000, 0), found(BEGUN_NS, 2001, 101), found(BEGUN_NS, 2002, 100)
    findings = judged([right, after_wrong, wrong])
    assert (findings.disagree, findings.agree) == (1, 2)
    assert findings.first is not None
    assert findings.first.event == wrong


@pytest.mark.parametrize("wrong", range(1, 7))
def test_however_many_are_wrong_the_others_agree(wrong: int) -> None:
    """What went on behind a wrong one goes on from there."""
    slots = [slot for start in range(wrong + 1) for slot in (start * 60, start * 60 + 1)]
    findings = judged(overlapping(*slots))
    assert (findings.disagree, findings.agree, findings.inconclusive) == (wrong, len(slots) - wrong, 0)


@settings(max_examples=60, deadline=None)
@given(st.permutations([0, 1, 2, 100, 101, 200, 300, 301]))
def test_in_whatever_order_they_ended(slots: list[int]) -> None:
    """Three places to go on from that none of the searches before leads to."""
    findings = judged(overlapping(*slots))
    assert (findings.disagree, findings.agree, findings.inconclusive) == (3, 5, 0)


def test_wrong_operations_of_every_kind_are_told_of_together() -> None:
    wrong_search, of_nothing, of_other_size = (
        found(BEGUN_NS, 2100, 100),
        released(1000, 2101, 400),
        released(1600, 2102, 7, 2),
    )
    findings = judged(
        [
            found(900, 950, 0),
            *(found(BEGUN_NS, 1500 + at, 1 + at) for at in range(9)),
            wrong_search,
            of_nothing,
            of_other_size,
        ]
    )
    assert (findings.disagree, findings.agree, findings.inconclusive) == (3, 10, 0)


WAY_THROUGH_BOTH_AREAS: Final[list[Event]] = [
    released(1100, 1200, 0, 128),
    released(1300, 1400, 128, 128),
    found(BEGUN_NS, OVER_NS, 128, 128),  # asked the first area before the first release, the second after the second
]


@pytest.mark.parametrize("wrong", [1, 12])
def test_a_search_that_is_in_place_though_not_at_one_moment_is_not_to_blame(wrong: int) -> None:
    full = Pool(POOL, START, 256, 2)
    for slot in (0, 128):
        full.take(slot, Request(0x20_0000, 128 * SLOT_BYTES, 0, LIMITS), DEV)
    judge = judging(machine(state_of(full)), cpus=2)
    of_nothing = [released(BEGUN_NS, OVER_NS + 1 + at, 64 + at) for at in range(wrong)]
    judge.feed([*WAY_THROUGH_BOTH_AREAS, *of_nothing])
    judge.feed([released(5000, 5010, 128, 128)])
    findings = judge.finish()
    assert (findings.disagree, findings.agree, findings.inconclusive) == (wrong, 4, 0)


def test_where_it_is_uncertain_from_where_they_searched_only_the_wrong_one_is_to_blame() -> None:
    """Of two searches either may have been the last, so that the next goes on from slot 6 or 14."""
    filled = [(0, 5), (5, 1), (6, 4), (10, 4), (14, 114)]
    before = [found(100 + 10 * at, 105 + 10 * at, slot, nslots) for at, (slot, nslots) in enumerate(filled)]
    room = [released(200, 210, 5), released(220, 230, 10, 4)]
    either_last = [found(300, 350, 5), found(310, 360, 10, 4)]
    more_room = [released(400, 410, 6, 4), released(420, 430, 14, 114)]
    judge = judging(machine(state_of(empty_pool(128))))
    judge.feed([*before, *room, *either_last, *more_room, *overlapping(6, 101, 100)])
    findings = judge.finish()
    assert (findings.disagree, findings.agree, findings.inconclusive) == (1, 14 - 1, 0)


def test_of_very_many_at_once_the_rest_is_in_doubt() -> None:
    findings = judged(overlapping(*range(30, 3030, 30)), 4096)
    assert (findings.disagree + findings.inconclusive, findings.agree) == (100, 0)
    assert findings.doubts.keys() == {Doubt.TOO_MANY_FAULTS}


def test_of_a_group_too_large_to_look_into_one_is_named_and_the_rest_is_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two wrong searches of six. In a group that is small enough both are named."""
    searches = overlapping(0, 1, 2, 3, 200, 300)
    assert judged(searches, 512).disagree == 2
    monkeypatch.setattr(comparison, "_MOST_DIAGNOSED", 5)
    findings = judged(searches, 512)
    assert (findings.disagree, findings.doubts) == (1, {Doubt.TOO_MANY_FAULTS: 1})


MORE_THAN_ARE_LOOKED_INTO: Final = [found(1100 + at, 1150 + at, at // 5) for at in range(100, 1100, 100)]
"""Wrong searches, one after another, while another was under way:"""
ALL_THE_TIME: Final = found(BEGUN_NS, 9000, 0)


def test_what_was_freed_meanwhile_was_not_in_use_however_many_others_are_wrong() -> None:
    given_out, freed = found(3000, 3010, 0), released(4000, 4010, 0)
    findings = judged([*MORE_THAN_ARE_LOOKED_INTO, given_out, freed, ALL_THE_TIME, released(9100, 9110, 0)])
    assert findings.disagree >= len(MORE_THAN_ARE_LOOKED_INTO)
    assert findings.safety_violations == 0


def test_what_was_not_freed_was() -> None:
    findings = judged([*MORE_THAN_ARE_LOOKED_INTO, found(3000, 3010, 0), ALL_THE_TIME, released(9100, 9110, 0)])
    assert findings.safety_violations == 1


def test_what_an_order_that_is_given_up_explained_is_told_of_in_the_one_taken() -> None:
    """The last, then the third explain each other; but with these at first, the first takes slots that are in use."""
    less_than_a_page = 2 * SLOT_BYTES - 512  # it may begin in any slot
    first, freed, third, last = (
        found(BEGUN_NS, 2000, 0, 2)._replace(alloc_size_bytes=less_than_a_page),
        released(BEGUN_NS, 2010, 0, 2)._replace(mapping_size_bytes=less_than_a_page),
        found(BEGUN_NS, 2020, 1, 2)._replace(alloc_size_bytes=less_than_a_page),
        found(BEGUN_NS, 2030, 0, 1),
    )
    findings = judged([first, freed, third, last], nslabs=4)
    assert (findings.disagree, findings.agree, findings.safety_violations) == (2, 2, 0)
    assert findings.first is not None
    assert findings.first.event == third
