"""A command that runs while its machine is recorded: how it begins, how it is ended, and its exit status."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Final

from swiotlb_top.errors import UsageError

_STANDARD_ERROR: Final = 2
_PATIENCE_S: Final = 2.0
"""How long a command may take to end after it was told to."""
_LOOK_S: Final = 0.05


def refuse_what_cannot_run(words: tuple[str, ...]) -> None:
    """:raises UsageError: the first word names no program."""
    if words and shutil.which(words[0]) is None:
        raise UsageError(f"cannot run {words[0]}: no such program")


class Command:
    """A program that runs.

    :param words: its name and its arguments.
    :param shares_output: whether its standard output is that of this process; otherwise it is standard error.
    :raises UsageError: it cannot be started.
    """

    def __init__(self, words: tuple[str, ...], *, shares_output: bool) -> None:
        try:
            self._process = subprocess.Popen(words, stdout=None if shares_output else _STANDARD_ERROR)
        except OSError as error:
            raise UsageError(f"cannot run {words[0]}: {error.strerror}") from None

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int:
        """Its exit status; -N where signal N ended it. It must be over."""
        return self._process.returncode

    def end(self, meanwhile: Callable[[], object] = lambda: time.sleep(_LOOK_S), *, interrupted: bool = False) -> None:
        """End it, if it still runs: by SIGTERM, and by SIGKILL where that does not help within two seconds.

        :param meanwhile: is called again and again until it is over.
        :param interrupted: Ctrl-C came, which the command has received from the terminal, too. It may then end by
            itself in the first two seconds.
        """
        if not (interrupted and self._ends_soon(meanwhile)):
            self._process.terminate()
            if not self._ends_soon(meanwhile):
                self._process.kill()
        self._process.wait()

    def _ends_soon(self, meanwhile: Callable[[], object]) -> bool:
        until_s = time.monotonic() + _PATIENCE_S
        while self.runs and time.monotonic() < until_s:
            meanwhile()
        return not self.runs


def exit_status(status: int) -> int:
    """The status with which this process ends after a command that ended with ``status``; for -N it is 128 + N."""
    return 128 - status if status < 0 else status


def in_words(status: int) -> str:
    """How a command ended."""
    return f"the command ended {f'by {_name(-status)}' if status < 0 else f'with status {status}'}"


def _name(number: int) -> str:
    """A signal's; real-time signals have none in between."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
