"""What each BPF program has cost, as far as the kernel counts it."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from swiotlb_top.accounting.snapshot import ProgramCost
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import settings
from swiotlb_top.probes.attach import libbpf
from swiotlb_top.probes.attach.objects import Objects
from swiotlb_top.probes.compile.image import Image
from swiotlb_top.probes.read.program import Program

# struct bpf_prog_info of Linux 6.12 up to what is read: run_time_ns, run_cnt.
INFO = bytes(192) + (123_000).to_bytes(8, "little") + (41).to_bytes(8, "little")


def program(monkeypatch: pytest.MonkeyPatch, *, counting: str, told: bytes = INFO) -> Program:
    """One of two programs, on a kernel with such a setting and such an answer."""

    def get_info(_: int, info: Any, length: Any) -> int:
        ctypes.memmove(info, told, len(told))
        length._obj.value = len(told)
        return 0

    monkeypatch.setattr(libbpf, "library", lambda: SimpleNamespace(bpf_obj_get_info_by_fd=get_info))
    monkeypatch.setattr(settings, "text", {"proc/sys/kernel/bpf_stats_enabled": counting}.__getitem__)
    loaded = object.__new__(Program)
    loaded._objects = Objects(Image((), {}), {}, programs={"kfunc__swiotlb_map": 3, "kretfunc__swiotlb_map": 4})
    return loaded


def test_where_the_kernel_counts_each_program_has_its_time_and_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert program(monkeypatch, counting="1").costs() == (
        ProgramCost("kfunc__swiotlb_map", 123_000, 41),
        ProgramCost("kretfunc__swiotlb_map", 123_000, 41),
    )


@pytest.mark.parametrize("counting", ["0", ""])
def test_where_it_does_not_nothing_is_said_of_any(monkeypatch: pytest.MonkeyPatch, counting: str) -> None:
    assert program(monkeypatch, counting=counting).costs() == ()


def test_a_kernel_that_says_it_counts_and_does_not_tell_is_not_taken_for_one_that_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CannotError, match="does not tell how its probes ran"):
        program(monkeypatch, counting="1", told=INFO[:192]).costs()
