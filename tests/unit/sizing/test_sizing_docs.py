"""docs/sizing.md and docs/why.md show what the commands print."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.sizing.report import SizeReport, answer
from swiotlb_top.sizing.sized import Question
from tests.support.sizing_docs import BOOTS, PAGE, PAGES, anew, commands, used_hiwater


@pytest.fixture(scope="module")
def answers() -> list[SizeReport]:
    """One for each boot of the stalled disk."""
    return [answer([path], Question(), None) for path in BOOTS]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_the_page_shows_is_what_is_printed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parents[1])
    page = path.read_text()
    assert commands(page)
    assert anew(page) == page


def test_the_page_goes_from_the_failures_of_the_stalled_disk_to_its_size() -> None:
    assert commands(PAGE.read_text())[:2] == [
        "replay tests/traces/stall.swtrace --explain",
        "size tests/traces/stall.swtrace",
    ]


def test_another_output_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parents[1])
    page = PAGE.read_text().replace(" 257 ", " 256 ")
    assert anew(page) != page


def test_each_boot_of_the_stalled_disk_is_with_what_was_answered_of_the_one_before(answers: list[SizeReport]) -> None:
    recommended = [report.as_json()["command_line"] for report in answers]
    booted = [report.fleet.members[0].today.configuration.command_line for report in answers]
    assert recommended[:-1] == booted[1:]
    assert all(one != other for one, other in pairwise(booted))


def test_only_the_last_boot_of_the_stalled_disk_fails_no_map_and_is_certain(answers: list[SizeReport]) -> None:
    assert [report.exit_code for report in answers] == [*[Exit.INCONCLUSIVE] * (len(BOOTS) - 1), Exit.OK]
    assert [not report.fleet.members[0].demand.failures for report in answers] == [
        *[False] * (len(BOOTS) - 1),
        True,
    ]


def test_the_kernel_had_as_many_slots_in_use_on_the_last_boot_as_is_said(answers: list[SizeReport]) -> None:
    recommended = answers[-1].fleet.recommended
    assert recommended
    assert recommended.high_water_slots == used_hiwater(BOOTS[-1])
