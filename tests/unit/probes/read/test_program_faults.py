"""What the kernel side knows it could not tell, in words."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.probes.attach import libbpf
from swiotlb_top.probes.attach.objects import Objects
from swiotlb_top.probes.compile.image import Image
from swiotlb_top.probes.read.program import Faults, Program


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

    def missed_hits(self, names: list[str]) -> int:
        return len(names)

    def look_up(self, _: str, size_bytes: int) -> bytes:
        return struct.pack("=4Q", 0, 0, 0, self._spared).ljust(size_bytes, b"\0")


def faults_of(missed: list[int], spared: int, kprobes: int = 0, never_told: int = 0) -> Faults:
    """Each of so many kprobes was hit in vain once."""
    program = object.__new__(Program)
    program._objects, program._telling, program._cpus = cast(Any, Loaded(missed, spared)), [], 2
    program._kprobes = [["map_exited"]] * kprobes
    program._never_told = never_told
    return program.faults()


def test_a_call_that_a_spare_told_of_is_not_lost() -> None:
    assert faults_of([5], 3).lost_events == 2
    assert faults_of([5, 6], 6).lost_events == 0


def test_spares_that_told_of_more_calls_than_were_skipped_ran_out_of_order() -> None:
    with pytest.raises(CannotError, match="recorded twice"):
        faults_of([5, 6], 7)


def test_a_kernel_that_does_not_tell_what_it_skipped_is_not_taken_for_one_that_skipped_nothing() -> None:
    closed = os.open(os.devnull, os.O_RDONLY)
    os.close(closed)
    objects = Objects(Image((), {}), {}, programs={"kretfunc__swiotlb_map": closed})
    with pytest.raises(CannotError, match="does not tell how its probes ran"):
        objects.missed_runs(["kretfunc__swiotlb_map"])
    objects.programs.clear()
    with pytest.raises(CannotError, match="does not tell how its probes ran"):
        Objects(Image((), {}), {}, links={"map_entered": closed}).missed_hits(["map_entered"])


def test_a_call_of_whose_return_nothing_told_is_lost() -> None:
    assert faults_of([0], 0, never_told=3).lost_events == 3


def test_what_a_kprobe_missed_is_lost() -> None:
    assert faults_of([5], 3, kprobes=2).lost_events == 4


def test_a_call_that_a_function_s_kprobes_missed_at_entry_and_return_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = {3: 2, 4: 5}
    monkeypatch.setattr(libbpf, "missed_hits", missed.__getitem__)
    objects = Objects(Image((), {}), {}, links={"map_entered": 3, "map_exited": 4})
    assert objects.missed_hits(["map_entered", "map_exited"]) == 5
    objects.links.clear()


@pytest.mark.parametrize("told_bytes", [48, 56])
def test_what_a_kernel_s_answer_is_too_short_for_it_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, told_bytes: int
) -> None:
    """Kernels before 6.7 do not count what kprobes miss."""

    def get_info(_: int, info: Any, length: Any) -> int:
        ctypes.memmove(info, bytes(48) + (7).to_bytes(8, "little"), 56)
        length._obj.value = told_bytes
        return 0

    monkeypatch.setattr(libbpf, "library", lambda: SimpleNamespace(bpf_obj_get_info_by_fd=get_info))
    assert libbpf.missed_hits(3) == (7 if told_bytes == 56 else -errno.ENOTSUP)
