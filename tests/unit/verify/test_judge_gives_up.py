"""A kernel that is plainly not the reference's is not compared for ever."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import Pool
from swiotlb_top.events import Gap
from swiotlb_top.verify import Doubt, Verdict
from swiotlb_top.verify import judge as module
from swiotlb_top.verify.diagnose import unconfirmed
from tests.support.histories import POOL, SECOND_NS, START, judging, machine, searched_in_vain, state_of

MOST = 200


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DISAGREEMENTS", MOST)


def test_after_so_many_confirmed_disagreements_nothing_is_compared_any_more() -> None:
    """Each search finds nothing where slots are free."""
    judge = judging()
    for second in range(1, 8):
        begin_ns = second * SECOND_NS
        judge.feed([searched_in_vain(at, at + 50, 1) for at in range(begin_ns, begin_ns + 10_000, 100)])
        judge.known_before(begin_ns + 20_000)
        judge.advance(begin_ns + SECOND_NS - 1)
    told = judge.findings.disagree
    assert MOST <= told < 700
    assert judge.blind

    judge.gap(Gap(8 * SECOND_NS, 8 * SECOND_NS, 1, "the ring was full"))
    judge.state(machine(state_of(Pool(POOL, START, 256, 2), 8 * SECOND_NS, 8 * SECOND_NS)))
    judge.feed([searched_in_vain(9 * SECOND_NS, 9 * SECOND_NS + 50, 129)])
    findings = judge.finish()

    assert (findings.disagree, findings.agree, findings.verdict) == (told, 0, Verdict.DISAGREE)
    assert findings.doubts == {Doubt.PLAINLY_WRONG: 701 - told}


def test_those_that_are_not_confirmed_end_nothing() -> None:
    judge = judging()
    judge.feed([searched_in_vain(at, at + 50, 1) for at in range(1000, 40_000, 100)])
    judge.advance(5 * SECOND_NS)
    assert not judge.blind


def test_a_stream_that_does_not_tell_which_calls_are_known_is_given_up_after_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later state could confirm a few of them, at the price of comparing all the rest."""
    monkeypatch.setattr(unconfirmed, "MOST_UNTOLD", MOST)
    judge = judging()
    judge.feed([searched_in_vain(at, at + 50, 1) for at in range(1000, 101_000, 100)])
    judge.advance(5 * SECOND_NS)
    assert judge.blind

    judge.state(machine(state_of(Pool(POOL, START, 256, 2), 8 * SECOND_NS, 8 * SECOND_NS)))
    judge.feed([searched_in_vain(9 * SECOND_NS, 9 * SECOND_NS + 50, 129)])
    findings = judge.finish()
    assert (findings.disagree, findings.agree, findings.verdict) == (0, 0, Verdict.INCONCLUSIVE)
    assert findings.doubts == {Doubt.TOO_MANY_UNCERTAIN: 1001}


def test_a_stream_that_tells_is_not_given_up_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unconfirmed, "MOST_UNTOLD", MOST)
    judge = judging()
    judge.known_before(0)
    judge.feed([searched_in_vain(at, at + 50, 1) for at in range(1000, 101_000, 100)])
    judge.advance(5 * SECOND_NS)
    assert not judge.blind
    judge.known_before(200_000)
    assert judge.finish().disagree == 1000
