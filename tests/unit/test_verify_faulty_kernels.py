"""Real kernels with a bug put back, recorded under a workload that shows it: each is reported as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.allocator import Hazard
from swiotlb_top.errors import Exit
from swiotlb_top.report import ReplayReport, replay

RECORDINGS = Path(__file__).parents[1] / "traces" / "faulty"

HARM = {
    "cve-2023-52790": Hazard.OUT_OF_BOUNDS,
    "no-min-alignment": Hazard.MISALIGNED_ADDRESS,
    # The slots are free and the buffer's bits are kept: but it is not where this swiotlb puts it.
    "cve-2024-35814": None,
    "no-page-alignment": None,
}
"""Kernels of the lab, and what harm is done first."""


def report_of(kernel: str) -> ReplayReport:
    return replay(RECORDINGS / f"{kernel}.swtrace")


def test_every_recording_has_its_kernels_name() -> None:
    assert {path.stem for path in RECORDINGS.iterdir()} == set(HARM)


@pytest.mark.parametrize("kernel", HARM)
def test_the_bug_is_reported_and_most_of_the_rest_agrees(kernel: str) -> None:
    report = report_of(kernel)
    findings, harm = report.findings, HARM[kernel]
    assert (report.exit_code, report.lost) == (Exit.DISAGREE, 0)
    assert findings.first is not None
    assert [violation.hazard for violation in findings.first.violations] == ([harm] if harm else [])
    assert bool(findings.safety_violations) == bool(harm)
    assert 0 < findings.disagree < findings.agree


@pytest.mark.parametrize("kernel", ["cve-2024-35814", "no-page-alignment"])
def test_pages_that_are_not_aligned_are_where_the_first_disagreement_is(kernel: str) -> None:
    first = report_of(kernel).findings.first
    assert first is not None
    slot, expected = (int(text.split("slot ", 1)[1].split()[0]) for text in (first.observed, first.expected))
    assert slot % 2 == 1
    assert expected % 2 == 0
