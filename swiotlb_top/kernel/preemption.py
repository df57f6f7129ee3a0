"""Whether this kernel takes the CPU from a task that is in the middle of a call of swiotlb's."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Final

from swiotlb_top.kernel import settings

_MODE: Final = "sys/kernel/debug/sched/preempt"
_VOLUNTARY: Final = ("none", "voluntary")
"""Modes of PREEMPT_DYNAMIC in which the kernel is left, or sleeps, before another task runs."""


class Preemption(Enum):
    """What a task may lose its CPU to while it is in a call, which never sleeps by itself."""

    NONE = "nothing"
    """Whatever a CPU runs there is over before it runs another task."""
    PREEMPTED = "another task"
    REAL_TIME = "another task, and waiting for a lock"
    """Locks sleep: a task that waits for one looks like a task that went to sleep by itself."""


def of(version: str, mode: str) -> Preemption:
    """What a kernel may do. What is not known, it may.

    :param version: as ``uname -v`` has it, "#1 SMP PREEMPT_DYNAMIC ..."; the build writes it (init/Makefile).
    :param mode: of PREEMPT_DYNAMIC, in brackets, "none (voluntary) full"; empty: not to be read.
    """
    words = {word for word in version.split() if word.startswith("PREEMPT")}
    if "PREEMPT_RT" in words:
        return Preemption.REAL_TIME
    if not words:
        return Preemption.NONE
    chosen = mode.partition("(")[2].partition(")")[0]
    return Preemption.NONE if words == {"PREEMPT_DYNAMIC"} and chosen in _VOLUNTARY else Preemption.PREEMPTED


def here(root: Path = settings.ROOT) -> Preemption:
    """What this kernel may do now: root may choose another mode at any time."""
    return of(os.uname().version, settings.text(_MODE, root))
