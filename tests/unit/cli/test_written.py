"""What the key w says became of the latest minutes: one line that fits 80 columns, whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.cli.top import written
from swiotlb_top.errors import CannotError
from swiotlb_top.flight import shelf, snapshot
from swiotlb_top.flight.shelf import Shelf
from swiotlb_top.tui.app import ASKED, RECORDED, nobody_writes

FITS = 80


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(shelf, "DIRECTORY", tmp_path)
    return tmp_path


def test_without_a_flight_recorder_it_says_how_to_start_one(directory: Path) -> None:
    said = written()
    assert said == "not written: no flight recorder runs (swiotlb-top record --flight 2m starts one)"
    assert all(len(line) <= FITS for line in (said, ASKED, RECORDED, nobody_writes()))


def test_a_flight_recorder_that_runs_is_asked_and_the_file_is_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(of: Path) -> Path:
        asked.append(of)
        return of / "swiotlb-1.swtrace"

    monkeypatch.setattr(snapshot, "snapshot", answer)
    with Shelf(directory, keep=8):
        assert written() == f"written: {directory}/swiotlb-1.swtrace"
    assert asked == [directory]


def test_one_that_does_not_answer_ends_no_screen(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(of: Path) -> Path:
        raise CannotError("the flight recorder, process 7, has ended without writing a file")

    monkeypatch.setattr(snapshot, "snapshot", refuse)
    with Shelf(directory, keep=8):
        assert written() == "not written: the flight recorder, process 7, has ended without writing a file"
