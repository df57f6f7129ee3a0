"""Waiting until every call that was under way in the kernel is over."""

from __future__ import annotations

import ctypes
import platform
from typing import Final

_MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283}
"""System call numbers; libc has no function for it."""
_GLOBAL: Final = 1  # MEMBARRIER_CMD_GLOBAL: synchronize_rcu()


def wait_for_calls_under_way() -> None:
    """Return when every CPU has been out of what it was in: idle, in another task or in userspace.

    By then the calls are over that began before, but for those of tasks preempted in the kernel
    (CONFIG_PREEMPT).  Where the kernel does not offer it (CPUs without a tick), nothing is waited for.
    """
    number = _MEMBARRIER.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _GLOBAL, 0, 0)
