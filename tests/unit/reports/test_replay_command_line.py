"""``swiotlb-top replay`` as people run it, on recordings that are good, bad, and none at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from swiotlb_top.records import Kind
from tests.support.doctoring import (
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

DEADLINE_S = 300.0


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "swiotlb_top", "replay", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_good_recording_exits_0_and_says_so() -> None:
    done = replay(FOUR_AREAS)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verdict: AGREE" in done.stdout


def test_json_is_one_object_on_one_line() -> None:
    done = replay(STALL, "--json")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["disagree"] == 0


def test_a_disagreement_exits_1(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    at = find(entries, Kind.FIND, succeeded, nth=100)
    further = change(entries, at, result=record_at(entries, at).result + 1)
    doctored = save(with_no_call_under_way(further), tmp_path / "doctored.swtrace")
    done = replay(doctored, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["first_disagreement"]["time_ns"] == record_at(entries, at).exit_ns


def test_an_unknown_revision_exits_2() -> None:
    done = replay(FOUR_AREAS, "--revision", "2.4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "there is no revision '2.4'; known are: 6.1, seed-v4, 6.6, 6.8, 6.9, 6.10, 7.3" in done.stderr


def missing(path: Path) -> None:
    """Nothing is there."""


def directory(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.write_bytes(b"\x7fELF" + bytes(4096))


def cut_in_its_header(path: Path) -> None:
    path.write_bytes(FOUR_AREAS.read_bytes()[:100])


def flipped_in_its_header(path: Path) -> None:
    flip(path, 40)


def flip(path: Path, at: int) -> None:
    whole = bytearray(FOUR_AREAS.read_bytes())
    whole[at] ^= 0x10
    path.write_bytes(whole)


@pytest.mark.parametrize("make", [missing, directory, empty, foreign, cut_in_its_header, flipped_in_its_header])
def test_what_is_no_recording_exits_4_with_one_line(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "bad.swtrace"
    make(path)
    done = replay(path)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("swiotlb-top: ")
    assert str(path) in done.stderr


def truncated(path: Path) -> None:
    path.write_bytes(FOUR_AREAS.read_bytes()[:-10])


def flipped_at_its_end(path: Path) -> None:
    flip(path, FOUR_AREAS.stat().st_size - 10)


@pytest.mark.parametrize(("make", "word"), [(truncated, "is truncated"), (flipped_at_its_end, "is damaged")])
def test_of_a_damaged_recording_what_can_be_read_is_reported_and_it_exits_4(
    make: Callable[[Path], None], word: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.swtrace"
    make(path)
    done = replay(path, "--json")
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert f"{path} {word} at byte " in done.stderr
    told = json.loads(done.stdout)
    assert told["agree"] == told["compared"] > 0
    assert word in told["damage"]
