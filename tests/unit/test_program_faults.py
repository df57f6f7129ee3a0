"""What the kernel side knows it could not tell, in words."""

from __future__ import annotations

import os
import struct
from typing import Any, cast

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.probes.image import Image
from swiotlb_top.probes.objects import Objects
from swiotlb_top.probes.program import Faults, Program


def test_every_kind_of_loss_is_a_lost_event() -> None:
    assert Faults(lost_records=1, lost_calls=2, missed_calls=4).lost_events == 7


def test_counters_that_are_inexact_are_said_to_be() -> None:
    assert Faults(lost_records=1).notes() == ()
    assert Faults(uncounted_calls=3).notes() == (
        "3 calls are not counted: there are more devices than the probes have room for",
    )


class Loaded:
    """Stands in for loaded programs: how many calls they missed, each time they are asked, and what spares told."""

    def __init__(self, missed: list[int], spared: int) -> None:
        self._missed = iter(missed)
        self._spared = spared

    def missed_runs(self, _: list[str]) -> int:
        return next(self._missed)

    def look_up(self, _: str, size_bytes: int) -> bytes:
        return struct.pack("=4Q", 0, 0, 0, self._spared).ljust(size_bytes, b"\0")


def faults_of(missed: list[int], spared: int) -> Faults:
    program = object.__new__(Program)
    program._objects, program._telling, program._cpus = cast(Any, Loaded(missed, spared)), [], 2
    return program.faults()


def test_a_call_that_a_spare_told_of_is_not_lost() -> None:
    assert faults_of([5], 3).lost_events == 2
    assert faults_of([5, 6], 6).lost_events == 0


def test_spares_that_told_of_more_calls_than_were_skipped_ran_out_of_order() -> None:
    with pytest.raises(CannotError, match="told of twice"):
        faults_of([5, 6], 7)


def test_a_kernel_that_does_not_tell_what_it_skipped_is_not_taken_for_one_that_skipped_nothing() -> None:
    closed = os.open(os.devnull, os.O_RDONLY)
    os.close(closed)
    objects = Objects(Image((), {}), {}, programs={"kretfunc__swiotlb_map": closed})
    with pytest.raises(CannotError, match="does not tell which calls its probes missed"):
        objects.missed_runs(["kretfunc__swiotlb_map"])
    objects.programs.clear()
