"""Several recordings are sized at the same time: the answers are those of one after the other."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.sizing.cores import over_cores
from swiotlb_top.sizing.report import answer
from swiotlb_top.sizing.sized import Question, Sized
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, STALL

QUESTION = Question()


@pytest.fixture
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.usefixtures("two_cpus")
def test_recordings_are_sized_as_one_after_the_other_and_in_their_order() -> None:
    files = [STALL, FOUR_CPUS, FOUR_AREAS]
    with over_cores(len(files)) as over:
        assert over is not map
        report = answer(files, QUESTION, None, over)
    assert report.as_text() == answer(files, QUESTION, None).as_text()


@pytest.mark.usefixtures("two_cpus")
def test_one_recording_is_sized_in_this_process() -> None:
    with over_cores(1) as over:
        assert over is map


def test_on_one_cpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    with over_cores(9) as over:
        assert over is map


@pytest.mark.usefixtures("two_cpus")
def test_one_that_cannot_be_read_is_named_as_ever(tmp_path: Path) -> None:
    broken = tmp_path / "broken.swtrace"
    broken.write_bytes(b"no recording")
    with pytest.raises(UnreadableError, match=r"broken\.swtrace"), over_cores(2) as over:
        answer([STALL, broken], QUESTION, None, over)


def _killed(_: str) -> Sized:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.usefixtures("two_cpus")
def test_a_process_that_is_killed_is_told_of_in_one_line() -> None:
    with pytest.raises(CannotError, match="was killed; where memory is short"), over_cores(2) as over:
        list(over(_killed, ["a", "b"]))
