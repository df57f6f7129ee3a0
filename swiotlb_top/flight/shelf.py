"""The flight recorder's directory: its files, of which only the latest stay, and who writes them."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from swiotlb_top.errors import CannotError
from swiotlb_top.trace.partial_file import PARTIAL_SUFFIX

DIRECTORY: Final = Path("/run/swiotlb-top")
_PREFIX, _SUFFIX = "swiotlb-", ".swtrace"
_PID_FILE: Final = "flight.pid"
_PID_BYTES: Final = 32
_HELD: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_MS_NS: Final = 1_000_000
_ANOTHER: Final = "name another directory with -o"


def recordings(directory: Path) -> list[Path]:
    """The files that flight recorders wrote into a directory, the oldest first by their names."""
    return sorted(directory.glob(f"{_PREFIX}*{_SUFFIX}"))


def _name(wall_ns: int, reason: str) -> str:
    """``swiotlb-20261129T030201.123Z-failure.swtrace``: the time is UTC, and the names sort by it."""
    seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
    return f"{_PREFIX}{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}.{rest_ns // _MS_NS:03}Z-{reason}{_SUFFIX}"


class Shelf:
    """The directory, held by this process alone, and made if it is not there. A context manager.

    :param keep: how many files stay, one or more.
    :raises CannotError: another recorder holds it, or it cannot be written to.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory: Final = directory
        self._keep = keep
        try:
            with suppress(FileExistsError):
                directory.mkdir(mode=0o700)
            self._pid_file = os.open(
                directory / _PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            self._hold()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise CannotError(f"cannot write into {directory}: {why}", _ANOTHER) from None
        self._files = recordings(directory)
        """The oldest first, also where the wall clock was set back between two of them."""

    def _hold(self) -> None:
        try:
            fcntl.flock(self._pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._pid_file, _PID_BYTES).decode(errors="replace").strip()
            raise CannotError(
                f"a flight recorder, process {pid}, writes into {self.directory} already", _ANOTHER
            ) from None
        os.ftruncate(self._pid_file, 0)
        os.write(self._pid_file, f"{os.getpid()}\n".encode())
        for left in self.directory.glob(f"{_PREFIX}*{_SUFFIX}{PARTIAL_SUFFIX}"):
            left.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.ftruncate(self._pid_file, 0)
        os.close(self._pid_file)

    def check(self) -> None:
        """Check that files can still be written after privileges were given up. :raises CannotError: they cannot."""
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise CannotError(
                f"cannot write into {self.directory} without privileges, which are given up once probes are attached",
                "name a directory of this user's own with -o",
            )

    def place_for(self, wall_ns: int, reason: str) -> Path:
        """A path for a new file, of something that happened at a time of the wall clock."""
        while os.path.lexists(path := self.directory / _name(wall_ns, reason)):
            wall_ns += _MS_NS
        return path

    def put(self, path: Path) -> None:
        """A file was written: remove the oldest ones if there are too many now."""
        self._files = [file for file in self._files if file.exists()]
        self._files.append(path)
        while len(self._files) > self._keep:
            with suppress(OSError):
                self._files.pop(0).unlink()


def holder(directory: Path) -> int | None:
    """The process id of the flight recorder that writes into a directory; None if there is none.

    :raises CannotError: this user may not know.
    """
    try:
        pid_file = os.open(directory / _PID_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CannotError(f"cannot read {directory / _PID_FILE}: {why}", "become root") from None
    try:
        fcntl.flock(pid_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(pid_file, _PID_BYTES)
        return int(pid) if pid.strip().isdigit() else None
    else:
        return None
    finally:
        os.close(pid_file)
