"""Kernels since 7.3 refuse a map before any search if the pool's memory is of the wrong kind for the device.

Before they search, they make the map's attributes say the pool's kind: so these tell whether a search was made.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiotlb_top.allocator import REVISIONS, Cause
from swiotlb_top.constants import DMA_ATTR_CC_SHARED
from swiotlb_top.events import Map
from swiotlb_top.verify import Doubt, Findings, Judge, Verdict
from tests.support.histories import device, machine, mapped, pool_with, state_of

SHARED, PRIVATE = 1, 0


def failed(entry_ns: int, attrs: int = 0, nslots: int = 1) -> Map:
    return mapped(entry_ns, entry_ns + 100, -1, nslots)._replace(attrs=attrs)


def mapped_shared(entry_ns: int, slot: int) -> Map:
    return mapped(entry_ns, entry_ns + 100, slot)._replace(attrs=DMA_ATTR_CC_SHARED)


def judged(cc_shared: int, *events: Map, revision: str = "7.3") -> Findings:
    judge = Judge(REVISIONS[revision])
    judge.state(replace(machine(state_of(pool_with(0))), cc_shared=cc_shared))
    judge.feed([device(), *events])
    return judge.finish()


@pytest.mark.parametrize(
    ("cc_shared", "attrs", "sentence"),
    [
        (
            SHARED,
            0,
            "the pool's memory is shared with the host, and the device needs memory that is private to the guest",
        ),
        (
            PRIVATE,
            DMA_ATTR_CC_SHARED,
            "the pool's memory is private to the guest, and the device needs memory that is shared with the host",
        ),
    ],
)
def test_a_map_that_was_refused_before_any_search_agrees_and_is_explained(
    cc_shared: int, attrs: int, sentence: str
) -> None:
    findings = judged(cc_shared, failed(1000, attrs))
    assert (findings.verdict, findings.agree, findings.inconclusive) == (Verdict.AGREE, 1, 0)
    (failure,) = findings.failures
    assert failure.explanation == (Cause.WRONG_KIND, Cause.WRONG_KIND, sentence, 1, 128)


def test_what_is_refused_at_once_overlaps_nothing() -> None:
    findings = judged(SHARED, failed(1000), mapped_shared(1050, 1), failed(1060), mapped_shared(1200, 2))
    assert (findings.verdict, findings.agree) == (Verdict.AGREE, 4)


def test_where_a_search_was_made_and_found_room_its_failure_disagrees() -> None:
    findings = judged(SHARED, mapped_shared(1000, 1), failed(2000, DMA_ATTR_CC_SHARED))
    assert (findings.agree, findings.disagree) == (1, 1)
    assert judged(PRIVATE, failed(2000)).disagree == 1


def test_where_the_callers_own_attributes_may_say_the_kind_nothing_is_claimed() -> None:
    """The device was never seen to map shared memory: it may be one that needs private memory."""
    findings = judged(SHARED, failed(1000, DMA_ATTR_CC_SHARED), mapped_shared(2000, 1))
    assert findings.doubts == {Doubt.KIND: 1}
    assert (findings.agree, findings.disagree) == (1, 0)


def test_a_failure_that_the_model_shares_is_explained_whatever_the_attributes_may_mean() -> None:
    findings = judged(SHARED, failed(1000, DMA_ATTR_CC_SHARED, 129))
    assert [failure.explanation.cause for failure in findings.failures] == [Cause.TOO_LARGE]


@pytest.mark.parametrize(("revision", "cc_shared"), [("6.10", SHARED), ("7.3", -1)])
def test_older_kernels_check_no_kind_and_old_recordings_tell_none(revision: str, cc_shared: int) -> None:
    findings = judged(cc_shared, failed(1000), revision=revision)
    assert (findings.disagree, findings.failures) == (1, [])
