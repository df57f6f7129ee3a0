"""Where a kernel may have one of several revisions, or none that is known, rows say what the report says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import swiotlb_top
from swiotlb_top.records import RECORD, Kind
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.trace import Header, TraceReader, TraceWriter
from tests.support.doctoring import (
    ALL_OF_THEM_NS,
    FOUR_AREAS,
    STALL,
    change,
    find,
    load,
    record_at,
    save,
    succeeded,
    with_no_call_under_way,
)
from tests.support.histories import DEV, KERNEL, POOL, machine

UNALIGNED: Final = STALL.parent / "unaligned.swtrace"
UNEXPLAINED: Final = ("areas", "pools", "total_used", "alloc_size", "pad_slots", "cc_shared")
"""7.3's counters, and padding, but the argument that went in 6.10."""
SHOWN: Final = ("areas", "pools", "dynamic", "total_used", "alloc_size", "search_area")


def retold(path: Path, recording: Path, **kernel: Any) -> Path:
    """A recording, of a kernel that says something else of itself."""
    header, *entries = load(recording)
    assert isinstance(header, Header)
    return save([replace(header, kernel=replace(header.kernel, **kernel)), *entries], path)


def rows_say_what_the_report_says(path: Path) -> ReplayReport:
    recording, report = swiotlb_top.open(path), replay(path)
    rows = list(recording.mappings())
    words = Counter(row.verdict for row in rows if row.map_ns is not None)
    words.update(row.unmap_verdict for row in rows if row.unmap_ns is not None)
    findings = report.findings
    assert (words["agree"], words["disagree"], words[None]) == (findings.agree, findings.disagree, findings.elsewhere)
    causes = Counter(row.cause for row in recording.failures() if row.cause)
    assert dict(causes) == report.as_json()["map_failures_by_cause"]
    return report


def maps(path: Path) -> set[str | None]:
    """The verdicts on maps that are in the recording."""
    return {row.verdict for row in swiotlb_top.open(path).mappings() if row.map_ns is not None}


def left(report: ReplayReport) -> list[str]:
    return [candidate.name for candidate in report.pipeline.judge.left]


def test_of_a_kernel_that_no_row_explains_every_row_is_inconclusive_and_none_has_a_cause(tmp_path: Path) -> None:
    path = retold(tmp_path / "retold.swtrace", STALL, release="6.7.0", features=UNEXPLAINED)
    assert left(rows_say_what_the_report_says(path)) == []
    assert maps(path) == {"inconclusive"}
    failures = swiotlb_top.open(path).failures()
    assert {(row.verdict, row.cause, row.sentence) for row in failures} == {("inconclusive", None, None)}


def test_a_kernel_becomes_unknown_and_what_agreed_before_is_inconclusive_too(tmp_path: Path) -> None:
    """Some day the search changes again, and no feature tells."""
    entries = load(FOUR_AREAS)
    at = find(entries, Kind.FIND, succeeded, nth=100)
    doctored = change(entries, at, result=record_at(entries, at).result + 1)
    further = save(with_no_call_under_way(doctored), tmp_path / "further.swtrace")
    assert maps(further) == {"agree", "disagree"}
    path = retold(tmp_path / "retold.swtrace", further, release="7.9.0")
    assert left(rows_say_what_the_report_says(path)) == []
    assert maps(path) == {"inconclusive"}


def test_the_second_of_two_candidates_is_dropped_and_rows_are_those_of_the_first(tmp_path: Path) -> None:
    kernel = {"release": "6.1.0-7.3-x", "features": ("areas", "alloc_size"), "version": ""}
    path = retold(tmp_path / "retold.swtrace", UNALIGNED, **kernel)
    report = rows_say_what_the_report_says(path)
    assert (len(report.pipeline.judge.choice.candidates), left(report)) == (2, ["stable 6.1 since 6.1.84"])
    assert report.findings.agree
    assert report.findings.disagree


@pytest.mark.parametrize("slot", [0, 1])
def test_the_likeliest_candidate_is_dropped_and_rows_are_those_of_what_is_left(tmp_path: Path, slot: int) -> None:
    """A page in the middle of a page is at an odd slot in mainline's 6.8 alone, which is the least likely of three."""
    path = tmp_path / "odd.swtrace"
    kernel = replace(KERNEL, release="6.8.0-31-generic", features=SHOWN)
    with TraceWriter(path, replace(TraceReader(STALL).header, kernel=kernel)) as trace:
        trace.state(machine())
        trace.records(
            RECORD.pack(90, 0, 0, Kind.DEVICE, 0, DEV, POOL, 0xFFFF_FFFF, 0, 0xFFFF_FFFF, 0, 0)
            + RECORD.pack(1050, 50, 0, Kind.FIND, 0, DEV, POOL, 0x20_0800, 4096, slot, 0, 0)
        )
        trace.known(ALL_OF_THEM_NS)
        trace.end({}, 2000, 0)
    report = rows_say_what_the_report_says(path)
    assert (report.findings.agree, report.findings.disagree) == (1, 0)
    assert (left(report) == ["6.8"]) == (slot == 1)
    assert maps(path) == {"agree"}
