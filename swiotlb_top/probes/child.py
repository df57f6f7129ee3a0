"""Work whose memory is not to stay: done in a child process, of which only the result is kept."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from swiotlb_top.errors import CannotError, SwiotlbTopError

Result = TypeVar("Result")


def in_child(work: Callable[[], Result]) -> Result:
    """Fork, do it there, and take over what came of it, which must be such as can be pickled.

    :raises SwiotlbTopError: as ``work`` does.
    :raises CannotError: the child ended without an answer.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.close(reading)
        _do(work, writing)
    os.close(writing)
    said = b""
    try:
        with open(reading, "rb") as answer:
            said = answer.read()
    finally:
        if sys.exc_info()[0] is not None:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if status:
        raise CannotError(
            f"the process that compiles the BPF program ended ({_how(status)}): is there too little memory?"
        )
    result = pickle.loads(said)  # noqa: S301 (our own child's)
    if isinstance(result, BaseException):
        raise result
    return result  # type: ignore[no-any-return]


def _do(work: Callable[[], object], answer: int) -> None:
    """The child's side; does not return."""
    try:
        # Whatever the parent does about them is the parent's.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            result = work()
        except SwiotlbTopError as error:
            result = error
        except Exception:
            result = RuntimeError(traceback.format_exc())
        with open(answer, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    finally:
        os._exit(1)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"status {code}"
