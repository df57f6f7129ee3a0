"""Where a recording goes: into one file, or into one file after another.

The files of a long recording are ``disk.000001.swtrace``, ``disk.000002.swtrace`` and so on, where ``disk.swtrace`` was
asked for. Their names sort in the order in which they were written.
"""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from swiotlb_top.errors import CannotError
from swiotlb_top.trace.items import Header
from swiotlb_top.trace.partial_file import PARTIAL_SUFFIX
from swiotlb_top.trace.writer import TraceWriter

_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Limit:
    """How large a file becomes, and how many are kept."""

    file_bytes: int
    keep: int | None = None
    """With the one that is written, 2 or more; the oldest is removed. None: all."""


class Files:
    """A recording's files, of which :attr:`trace` is the one that is written; to be used in a ``with`` statement.

    :param output: the name of the only file, or what the names of several are made of; or a file object.
    :param limit: of each of several files; None: there is only one.
    :raises CannotError: the first one exists, or cannot be created.
    """

    def __init__(self, output: Path | BinaryIO, header: Header, limit: Limit | None = None) -> None:
        self.output: Final = output if isinstance(output, Path) else None
        self._limit = limit
        self._number = 1
        self._written: list[Path] = []
        """The finished ones that are still there, in their order."""
        self.removed = 0
        self._finished_bytes = 0
        self._closer = ThreadPoolExecutor(max_workers=1)
        self._closing: Future[None] | None = None
        self.trace = TraceWriter(output if self.path is None else self.path, header)

    @property
    def path(self) -> Path | None:
        """The name that the file that is written will have; None: it has none."""
        if self.output is None or self._limit is None:
            return self.output
        return _numbered(self.output, self._number)

    @property
    def is_only(self) -> bool:
        """Whether no file precedes the one that is written."""
        return self._number == 1

    @property
    def size_bytes(self) -> int:
        """How much was written so far, to all of them."""
        return self._finished_bytes + self.trace.size_bytes

    @property
    def is_full(self) -> bool:
        """Whether it is time for another file. States take no more than half of each, however large they are."""
        return self._limit is not None and self.trace.size_bytes >= self._full_bytes(self._limit)

    @property
    def is_overfull(self) -> bool:
        """Whether the file is a quarter larger than that, so that a better moment is not awaited any more."""
        return self._limit is not None and 4 * self.trace.size_bytes >= 5 * self._full_bytes(self._limit)

    def names(self) -> str:
        """The files that are there, in words."""
        if self.path is None:
            return "standard output"
        if not self._written:
            return str(self.path)
        removed = f" ({self.removed} before them removed)" if self.removed else ""
        return f"{self._written[0]} to {self.path}{removed}"

    def begin_another(self, header: Header) -> None:
        """Begin another file: the one before has its end. The oldest is removed if there would be too many.

        :raises CannotError: the next one exists, or cannot be created, or one before could not be finished.
        """
        if self.output is None:
            raise ValueError("a file object is the only file")
        self._wait()
        self._written.append(_numbered(self.output, self._number))
        self._finished_bytes += self.trace.size_bytes
        # It takes as long as the disk does, and the ring must be read meanwhile.
        self._closing = self._closer.submit(self.trace.close)
        self._remove_old()
        self._number += 1
        self.trace = TraceWriter(_numbered(self.output, self._number), header)

    def discard(self) -> None:
        """Leave nothing of the file that is written."""
        self.trace.discard()

    def close(self) -> None:
        """Close all. :raises CannotError: one could not be finished."""
        try:
            self._wait()
        finally:
            self._closer.shutdown()
            self.trace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _full_bytes(self, limit: Limit) -> int:
        return max(limit.file_bytes, 2 * self.trace.states_bytes)

    def _wait(self) -> None:
        """Until the file before is finished."""
        if self._closing:
            self._closing.result()

    def _remove_old(self) -> None:
        while self._limit and self._limit.keep and len(self._written) >= self._limit.keep:
            oldest = self._written.pop(0)
            self.removed += 1
            try:
                oldest.unlink(missing_ok=True)
            except OSError as error:
                raise CannotError(f"cannot remove {oldest}: {error.strerror}; what was recorded is kept") from None


def refuse_to_overwrite(output: Path, limit: Limit | None = None) -> None:
    """Say before anything is recorded what would be in the way of a recording.

    :raises CannotError: a file of that name, or one of its files where there may be several, exists; or its directory
        does not.
    """
    try:
        output.lstat()
    except FileNotFoundError:
        if not output.absolute().parent.is_dir():
            raise CannotError(f"{output.absolute().parent} is no directory: make it first") from None
    except (OSError, ValueError) as error:
        raise CannotError(f"{output} cannot be written: {error}") from None
    else:
        if not output.is_file():
            raise CannotError(f"{output} is not a regular file: name a new one")
        raise CannotError(f"{output} exists: choose another name, or remove it first")
    if limit and (there := _first_of(output)):
        raise CannotError(f"{there} exists: choose another name, or remove all of them first")


def _numbered(output: Path, number: int) -> Path:
    return output.with_name(f"{output.stem}.{number:0{_DIGITS}}{output.suffix}")


def _first_of(output: Path) -> Path | None:
    """The first file that is there of those that a recording of this name may have."""
    name = re.compile(
        rf"{re.escape(output.stem)}\.\d{{{_DIGITS},}}{re.escape(output.suffix)}(?:{re.escape(PARTIAL_SUFFIX)})?"
    )
    try:
        return min((path for path in output.parent.iterdir() if name.fullmatch(path.name)), default=None)
    except OSError:
        return None  # it is not to be listed; what is there is found when it is created
