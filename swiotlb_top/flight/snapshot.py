"""Asks a flight recorder that runs for a file."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.flight.shelf import holder, recordings

PATIENCE_S: Final = 60.0
"""How long the file is awaited. Reading the state waits for a CPU that stays in the kernel, which may take seconds."""
_LOOK_S: Final = 0.1


def snapshot(directory: Path) -> Path:
    """Have what is in memory written, and wait for it.

    :param directory: where the flight recorder writes to.
    :returns: the file.
    :raises CannotError: no flight recorder writes there, this user may not ask it, or it writes none.
    """
    pid = holder(directory)
    if pid is None:
        raise CannotError(
            f"no flight recorder writes into {directory}", "start one: swiotlb-top record --flight 60s -o DIR"
        )
    there = set(recordings(directory))
    try:
        os.kill(pid, signal.SIGUSR1)
    except ProcessLookupError:
        raise CannotError(f"the flight recorder, process {pid}, is not to be seen from here") from None
    except PermissionError:
        raise CannotError(f"this user may not signal the flight recorder, process {pid}", "become root") from None
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        if new := [path for path in recordings(directory) if path not in there]:
            return new[-1]
        if holder(directory) != pid:
            raise CannotError(f"the flight recorder, process {pid}, has ended without writing a file")
        time.sleep(_LOOK_S)
    raise CannotError(
        f"the flight recorder, process {pid}, has written no file for {PATIENCE_S:.0f} s",
        "what it says on standard error may tell why",
    )
