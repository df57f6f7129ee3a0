"""Waiting until every call that was under way in the kernel is over."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import suppress
from typing import Final

from swiotlb_top.cpus import Cpus
from swiotlb_top.kernel import settings

_MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283}
"""System call numbers; libc has no function for it."""
_ONLINE: Final = "sys/devices/system/cpu/online"
_GLOBAL: Final = 1  # MEMBARRIER_CMD_GLOBAL: synchronize_rcu()


def wait_for_calls_under_way() -> bool:
    """Return when every CPU has been out of what it was in: idle, in another task or in userspace.

    By then the calls are over that began before, but for those of tasks preempted in the kernel
    (CONFIG_PREEMPT).  Where the kernel does not wait for us (CPUs without a tick), this thread goes to each CPU: to
    run there it has to wait, too.

    :return: False: there was no way to wait, and calls from before may still be under way.
    """
    return _wait_in_kernel() or _visit_every_cpu()


def _wait_in_kernel() -> bool:
    number = _MEMBARRIER.get(platform.machine())
    return number is not None and ctypes.CDLL(None).syscall(number, _GLOBAL, 0, 0) == 0


def _visit_every_cpu() -> bool:
    """Run on each CPU that is online, and come back; False where one is out of bounds (a cpuset, a seccomp filter)."""
    before = os.sched_getaffinity(0)
    try:
        for cpu in Cpus.parse(settings.text(_ONLINE)).numbers():
            os.sched_setaffinity(0, {cpu})
    except (OSError, ValueError):
        return False
    finally:
        with suppress(OSError):  # who may not go anywhere has not left
            os.sched_setaffinity(0, before)
    return True
