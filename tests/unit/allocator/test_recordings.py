"""Every recorded kernel is explained by its own revision, and by no other that differs in what came up."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from swiotlb_top.allocator import REVISIONS, Cause
from swiotlb_top.reports.explained import ExplainedReport
from swiotlb_top.reports.replay import replay
from swiotlb_top.verify import Verdict
from tests.support.explained import RECORDINGS, of_the_beginning

SINCE_SEED = set(REVISIONS) - {"6.1"}
SINCE_6_8 = {"6.8", "6.9", "6.10", "7.3"}

EXPLAINED_BY = {
    # One area in each pool: no order of areas; no page that is not aligned for its buffer's sake.
    "growing": SINCE_SEED,
    # Four areas in each pool: the order shows.
    "four-areas": SINCE_6_8,
    "four-cpus": SINCE_6_8,
    # A static pool of one area, and every request 128 slots: all that changed does not come up.
    "stall": set(REVISIONS),
    "large": set(REVISIONS),
    "debian-6.1-stall": set(REVISIONS),
    # No other comes near 6.1's stride, where there is a choice.
    "debian-6.1": {"6.1"},
    "debian-6.1-unaligned": {"6.1"},
    # Buffers begin anywhere in their page; one area.
    "unaligned": SINCE_SEED,
    "debian-7.3": SINCE_SEED,
    # The seed's order on a kernel of today; what came up does not tell 6.6's alignment from 6.10's.
    "seed": {"seed-v4", "6.6", "6.10 in 6.6's order"},
}
"""Recordings of which it is known; of any other its own revision must explain it."""


Explain = Callable[[Path], ExplainedReport]


@pytest.fixture(scope="module")
def explain(tmp_path_factory: pytest.TempPathFactory) -> Explain:
    """Makes the report on a recording's beginning, once."""
    return cache(lambda path: of_the_beginning(path, tmp_path_factory.mktemp("beginnings")))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_is_explained_by_its_kernels_own_revision(path: Path, explain: Explain) -> None:
    report = explain(path)
    own, *_ = report.own
    assert own not in refuted(report)
    assert own in EXPLAINED_BY.get(path.stem, {own})


@pytest.mark.parametrize("path", [path for path in RECORDINGS if path.stem in EXPLAINED_BY], ids=lambda path: path.stem)
def test_and_by_these_others_but_no_more(path: Path, explain: Explain) -> None:
    assert set(REVISIONS) - refuted(explain(path)) == EXPLAINED_BY[path.stem]


def refuted(report: ExplainedReport) -> set[str]:
    return {one.revision.name for one in report.revisions if one.verdict is Verdict.DISAGREE}


def test_where_a_transient_pool_did_not_suit_alignment_is_why_the_map_failed() -> None:
    unaligned = next(path for path in RECORDINGS if path.stem == "unaligned")
    findings = replay(unaligned).findings
    assert {cause: first.explanation.pools_cause for cause, first in findings.causes.items()} == {
        Cause.MISALIGNED: Cause.EXHAUSTED
    }


def test_each_revision_is_ruled_out_by_some_recording() -> None:
    ruled_out = set().union(*(set(REVISIONS) - explaining for explaining in EXPLAINED_BY.values()))
    assert ruled_out == set(REVISIONS)
