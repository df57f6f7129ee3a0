"""Operations that overlap, of which some are wrong: these are named, and no others."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.events import Event
from swiotlb_top.verify import Findings
from tests.unit.histories import found, judging, released

BEGUN_NS: Final = 1000
OVER_NS: Final = 2000
WRONG: Final = (100, 200, 300)
"""Slots that are free, and none of them the first that is."""


def overlapping(*slots: int) -> list[Event]:
    """Searches that were all under way at once, by what they found, in the order they ended."""
    return [found(BEGUN_NS, OVER_NS + at, slot) for at, slot in enumerate(slots)]


def judged(events: list[Event]) -> Findings:
    judge = judging()
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
