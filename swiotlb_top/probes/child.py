"""Work whose memory is not to stay: done in a child process, of which a result and open files are kept."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from swiotlb_top.errors import CannotError, SwiotlbTopError

_MESSAGE_BYTES: Final = 1 << 17
_MOST_FILES: Final = 250  # the kernel passes on 253 (SCM_MAX_FD)


class Handed(NamedTuple):
    """What came of the work: a result that can be pickled, and file descriptors, now this process's own."""

    result: Any
    files: list[int]


def in_child(work: Callable[[], Handed]) -> Handed:
    """Fork, do it there, and take over what came of it. The child ends without tidying up: its files are ours.

    :raises SwiotlbTopError: as ``work`` does.
    :raises CannotError: the child ended without an answer.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _do(work, theirs)
    theirs.close()
    answered = False
    try:
        with ours:
            said, files, _, _ = socket.recv_fds(ours, _MESSAGE_BYTES, _MOST_FILES)
        for descriptor in files:
            os.set_inheritable(descriptor, False)
        answered = bool(said)
    finally:
        if answered or sys.exc_info()[0] is not None:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not answered:
        raise CannotError(f"the process that loads the BPF program ended ({_how(status)}): is there too little memory?")
    result = pickle.loads(said)  # noqa: S301 (our own child's)
    if isinstance(result, BaseException):
        raise result
    return Handed(result, list(files))


def _do(work: Callable[[], Handed], answer: socket.socket) -> None:
    """The child's side; does not return."""
    try:
        # Whatever the parent does about them is the parent's.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            handed = work()
        except SwiotlbTopError as error:
            handed = Handed(error, [])
        except Exception:
            handed = Handed(RuntimeError(traceback.format_exc()), [])
        socket.send_fds(answer, [pickle.dumps(handed.result)], handed.files)
    finally:
        os._exit(0)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"status {code}"
