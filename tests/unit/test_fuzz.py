"""Mutated recordings, as ``make fuzz`` tries them for an hour: here some of them, and always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Final

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
