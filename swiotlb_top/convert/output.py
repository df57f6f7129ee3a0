"""Where a converted recording goes: a file that has its name only when it is whole, or standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.trace.partial_file import PartialFile

_PIECE_BYTES: Final = 1 << 16


def into_file(pieces: Iterable[bytes], path: Path) -> int:
    """Write a new file; nothing is left where that fails. How many bytes it has.

    :raises CannotError: it cannot be written, or is there.
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
            f"cannot write {path}: {error.strerror}", "choose another directory; nothing is left of it"
        ) from None
    except BaseException:
        file.discard()
        raise
    return written


def to_standard_output(pieces: Iterable[bytes]) -> None:
    """Write them as they are."""
    sys.stdout.flush()
    for piece in _gathered(pieces):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same in larger pieces."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
