"""Writes a converted recording to standard output, or to a file that gets its name once it is complete."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.trace.partial_file import PartialFile

STANDARD_OUTPUT: Final = Path("-")
"""The name that stands for it on the command line."""
_PIECE_BYTES: Final = 1 << 16


def into_file(pieces: Iterable[bytes], path: Path) -> int:
    """Write a new file. If that fails, no part of it is left.

    :returns: the size of the file in bytes.
    :raises CannotError: the file cannot be written, or exists.
    """
    file = PartialFile(path)
    written = 0
    try:
        for piece in _gathered(pieces):
            file.write(piece)
            written += len(piece)
        file.commit()
    except OSError as error:
        file.discard()
        raise CannotError(
            f"cannot write {path}: {error.strerror}", "choose another directory; no part of the file is left"
        ) from None
    except BaseException:
        file.discard()
        raise
    return written


def to_standard_output(pieces: Iterable[bytes]) -> None:
    """Write the pieces to standard output."""
    sys.stdout.flush()
    for piece in _gathered(pieces):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer, larger pieces."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
