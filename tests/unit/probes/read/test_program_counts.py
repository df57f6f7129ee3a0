"""The counts of all devices together: those that there are, and those whose address is another's by now."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import pytest

from swiotlb_top.probes.compile.flags import TOTALS_BYTES
from swiotlb_top.probes.read.program import Calls, Program

DEV = 0xFFFF888100000000
GONE = (10, 20, 30)
"""Maps, failed maps and unmaps."""
QUIET = (1, *GONE, 1)


def device(maps: int) -> bytes:
    """``struct totals``, of which the first words are the device, its driver and its maps."""
    return struct.pack("=3Q", DEV, 0, maps).ljust(TOTALS_BYTES, b"\0")


class Loaded:
    """Stands in for loaded programs: what ``departed`` holds, each time it is looked at."""

    def __init__(self, *departed: tuple[int, ...]) -> None:
        self.departed: Iterator[tuple[int, ...]] = iter(departed)

    def look_up(self, name: str, size_bytes: int) -> bytes:
        assert name == "departed"
        return struct.pack("=5Q", *next(self.departed)).ljust(size_bytes, b"\0")


def program(*departed: tuple[int, ...], maps: int = 5) -> Program:
    program = object.__new__(Program)
    program._objects = cast(Any, Loaded(*departed))
    program._devices = memoryview(bytearray(device(maps))).cast("Q")
    program.holdings = None
    return program


def test_calls_are_those_of_devices_that_there_are_and_that_there_were() -> None:
    devices, calls = program(QUIET, QUIET).counted()
    assert calls == Calls(15, 20, 30)
    assert devices[DEV].maps == 5


@pytest.mark.parametrize(
    "disturbed",
    [
        [(1, *GONE, 2), (1, *GONE, 2)],
        [(0, 0, 0, 0, 0), QUIET],
        [(1, *GONE, 1), (1, 10, 20, 30, 2)],
    ],
    ids=["while one departs", "one departed meanwhile", "one began to depart meanwhile"],
)
def test_a_device_that_departs_meanwhile_is_counted_once(disturbed: list[tuple[int, ...]]) -> None:
    after = (2, 15, 20, 30, 2)
    asked = program(*chain(disturbed, [after, after]))
    assert asked.counted()[1] == Calls(20, 20, 30)
