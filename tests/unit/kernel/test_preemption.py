"""Whether a kernel takes the CPU from a task in the middle of a call: what it says of itself, and what it does not."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from swiotlb_top.kernel import preemption
from swiotlb_top.kernel.preemption import Preemption, of

DYNAMIC = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)"


@pytest.mark.parametrize(
    ("version", "preempts"),
    [
        ("#1 SMP Debian 6.1.153-1 (2025-09-20)", Preemption.NONE),
        ("#3 SMP PREEMPT Thu Nov 26 10:00:00 UTC 2026", Preemption.PREEMPTED),
        ("#1 PREEMPT Thu Nov 26 10:00:00 UTC 2026", Preemption.PREEMPTED),
        ("#1 SMP PREEMPT_RT Debian 6.12.48-1 (2025-09-20)", Preemption.REAL_TIME),
        ("#1 SMP PREEMPT_OF_TOMORROW", Preemption.PREEMPTED),
    ],
)
def test_a_kernel_s_version_says_how_it_was_built(version: str, preempts: Preemption) -> None:
    assert of(version, "") is preempts


@pytest.mark.parametrize(
    ("mode", "preempts"),
    [
        ("(none) voluntary full", Preemption.NONE),
        ("none (voluntary) full", Preemption.NONE),
        ("none voluntary (full)", Preemption.PREEMPTED),
        ("full (lazy)", Preemption.PREEMPTED),
        ("(undefined)", Preemption.PREEMPTED),
        ("", Preemption.PREEMPTED),
    ],
)
def test_where_the_mode_was_chosen_at_boot_it_counts_and_unknown_it_may_be_any(mode: str, preempts: Preemption) -> None:
    assert of(DYNAMIC, mode) is preempts


def test_a_mode_that_debugfs_shows_is_no_other_kernel_s_business() -> None:
    assert of("#1 SMP PREEMPT", "none (voluntary) full") is Preemption.PREEMPTED


def test_the_mode_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(version=DYNAMIC))
    assert preemption.here(tmp_path) is Preemption.PREEMPTED
    shown = tmp_path / "sys/kernel/debug/sched/preempt"
    shown.parent.mkdir(parents=True)
    shown.write_text("none (voluntary) full\n")
    assert preemption.here(tmp_path) is Preemption.NONE
    shown.write_text("none voluntary (full)\n")
    assert preemption.here(tmp_path) is Preemption.PREEMPTED
