"""Doctored histories and what must be said of them: each beside a twin that differs in what makes it right or wrong."""

from __future__ import annotations

import pytest

from swiotlb_top.report import ReplayReport, replay
from swiotlb_top.verify import Verdict
from tests.corpus import DIRECTORY, HISTORIES, path_of
from tests.doctoring import FOUR_CPUS, load

FEW: int = 8
"""Reports of one fault, at most."""


@pytest.fixture(scope="module", params=HISTORIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def report(name: str) -> ReplayReport:
    return replay(path_of(name))


def test_the_verdict_is_the_histories(name: str, report: ReplayReport) -> None:
    assert report.findings.verdict is HISTORIES[name].verdict, report.as_text()


def test_one_fault_is_few_reports_and_no_fault_none(name: str, report: ReplayReport) -> None:
    wrong = HISTORIES[name].verdict is Verdict.DISAGREE
    assert wrong <= report.findings.disagree <= FEW * wrong


def test_nothing_is_left_open_but_where_that_is_the_point(name: str, report: ReplayReport) -> None:
    assert report.findings.doubts.keys() == HISTORIES[name].doubts


def test_the_file_is_what_is_made_of_the_recording_now(name: str) -> None:
    same = load(path_of(name)) == HISTORIES[name].entries()
    assert same, "python -m tests.corpus writes it anew"


def test_no_file_is_there_that_nobody_knows() -> None:
    assert {path.stem for path in DIRECTORY.iterdir()} == set(HISTORIES)


def test_calls_overlap_in_the_recording_they_are_made_of() -> None:
    findings = replay(FOUR_CPUS).findings
    assert findings.compared == findings.agree > 700
