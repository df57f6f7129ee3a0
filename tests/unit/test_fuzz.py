"""Mutated recordings, as ``make fuzz`` tries them for an hour: here some of them, and always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.fuzz import small
from tests.fuzz.mutate import put_together, taken_apart
from tests.fuzz.run import MEMORY_MIB, SMALL, fuzz_in_processes
from tests.support.doctoring import FOUR_CPUS

SEEDS: Final = (1, 2)
INPUTS: Final = 25
"""Of each seed."""
NO_END_MINUTES: Final = 1e6


def test_a_recording_taken_apart_and_put_together_is_the_same_to_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "same.swtrace"
    path.write_bytes(put_together(taken_apart(FOUR_CPUS)))
    assert taken_apart(path) == taken_apart(FOUR_CPUS)


def test_no_mutated_recording_crashes_hangs_or_takes_much_memory(tmp_path: Path) -> None:
    found = fuzz_in_processes(SEEDS, SMALL, INPUTS, NO_END_MINUTES, tmp_path)

    assert [failure for one in found for failure in one.failures] == []
    assert [one.inputs for one in found] == [INPUTS] * len(SEEDS)
    assert all(one.refused for one in found)
    assert all(one.peak_kib < MEMORY_MIB << 10 for one in found)


def test_no_small_mutated_recording_is_anything_but_taken_or_refused_in_a_line(tmp_path: Path) -> None:
    number, refused, faults = small.tried(1, 200, float("inf"), tmp_path)
    assert (number, faults) == (200, [])
    assert refused > 20


def test_a_fault_is_noticed_and_its_recording_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(small.Target, "_read", fail)
    _, _, faults = small.tried(1, 1, float("inf"), tmp_path)
    assert [path.read_bytes()[:8] for path in faults] == [FOUR_CPUS.read_bytes()[:8]]


def test_a_recording_whose_checksums_are_mended_is_the_same() -> None:
    content = FOUR_CPUS.read_bytes()
    assert small.mended(content) == content
    assert small.mended(content[:-1] + bytes([content[-1] ^ 1])) != content
