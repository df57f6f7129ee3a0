"""Doctored histories and what must be said of them: each beside a twin that differs in what makes it right or wrong."""

from __future__ import annotations

import pytest

from swiotlb_top.reports.replay import ReplayReport, replay
from tests.support.corpus import DIRECTORY, HISTORIES, path_of, recorded
from tests.support.doctoring import FOUR_CPUS, load, record_at


@pytest.fixture(scope="module", params=HISTORIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def report(name: str) -> ReplayReport:
    return replay(path_of(name))


def test_the_verdict_is_the_histories(name: str, report: ReplayReport) -> None:
    assert report.findings.verdict is HISTORIES[name].verdict, report.as_text()


def test_as_many_events_are_blamed_as_are_wrong(name: str, report: ReplayReport) -> None:
    assert report.findings.disagree == HISTORIES[name].wrong


def test_the_first_that_is_blamed_is_the_first_that_is_wrong(name: str, report: ReplayReport) -> None:
    blamed, wrong = report.findings.first, HISTORIES[name].first
    entries = recorded()
    assert (blamed.time_ns if blamed else None) == (record_at(entries, wrong(entries)).exit_ns if wrong else None)


def test_what_is_inconclusive_is_what_cannot_be_known(name: str, report: ReplayReport) -> None:
    assert report.findings.doubts == HISTORIES[name].doubts


def test_the_file_is_what_is_made_of_the_recording_now(name: str) -> None:
    same = load(path_of(name)) == HISTORIES[name].entries()
    assert same, "python -m tests.support.corpus writes it anew"


def test_no_file_is_there_that_nobody_knows() -> None:
    assert {path.stem for path in DIRECTORY.iterdir()} == set(HISTORIES)


def test_calls_overlap_in_the_recording_they_are_made_of() -> None:
    findings = replay(FOUR_CPUS).findings
    assert findings.compared == findings.agree > 700
