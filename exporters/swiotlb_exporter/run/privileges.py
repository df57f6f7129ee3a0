"""Gives up what is not needed once the probes are attached.

What is held then is held by file descriptors: reading a BPF map, running the program that reads memory, attaching and
detaching what was loaded ask for no capability any more (since 5.19: c8644cd0efe7).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from typing import Final

from swiotlb_top.errors import CannotError

CAP_DAC_READ_SEARCH: Final = 2
"""Lets somebody who is not root read debugfs, whose directory is root's alone."""

_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 23, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_SETPCAP: Final = 8


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop(keep: Collection[int] = ()) -> None:
    """Leave the calling thread, and those it starts, no capability but ``keep`` of those it has, and no way to more.

    :raises CannotError: the kernel does not let go of them.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if _held(libc) >> _CAP_SETPCAP & 1:
        number = 0
        while (there := libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)) >= 0:
            if there and number not in keep:
                _checked(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))
            number += 1
    _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    kept = _held(libc) & sum(1 << number for number in keep)
    words = [kept & 0xFFFF_FFFF, kept >> 32]
    data = (_Data * 2)(*(_Data(word, word, 0) for word in words))
    _checked(libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), data))


def _held(libc: ctypes.CDLL) -> int:
    """The permitted capabilities, a bit each."""
    data = (_Data * 2)()
    _checked(libc.capget(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), data))
    return int(data[0].permitted | data[1].permitted << 32)


def _checked(status: int) -> None:
    if status < 0:
        raise CannotError(f"privileges cannot be given up: {os.strerror(ctypes.get_errno())}")
