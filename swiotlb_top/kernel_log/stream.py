"""Reading a log: any file, of any size, of anybody's. Memory stays bounded, and time by :data:`INPUT_MAX_BYTES`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple

from swiotlb_top.kernel_log.lines import LINE_MAX, read, unfinished, worth_a_look
from swiotlb_top.kernel_log.tally import Found, Tally

INPUT_MAX_BYTES: Final = 1 << 30
"""No more is read: a device may have no end."""
_CHUNK_BYTES: Final = 1 << 20
_QUOTES: Final = b" \t>|"


class Read(NamedTuple):
    """What was found in a log, and how much of it was read."""

    found: Found
    lines: int
    missing: str = ""
    """Why there is more of it than was read, in a sentence; empty where there is not."""


def read_log(file: BinaryIO, most_bytes: int = INPUT_MAX_BYTES) -> Read:
    """Read a log to its end, or its first ``most_bytes``. :raises OSError: it cannot be read."""
    source = _Lines(file, most_bytes)
    found = tally(source).found()
    return Read(found, source.count, "" if source.complete else f"only the first {most_bytes:,} bytes were read")


def tally(lines: Iterable[bytes]) -> Tally:
    """Count what ``lines`` tell. A line that was folded, as mails fold them, is put together again."""
    counted = Tally()
    for text in _whole(lines):
        line = read(text)
        if line is not None:
            counted.add(line)
    return counted


def _whole(lines: Iterable[bytes]) -> Iterator[str]:
    held = ""
    for raw in lines:
        text = f"{held} {_text(raw.lstrip(_QUOTES))}" if held else ""
        if not text:
            if not worth_a_look(raw):
                continue
            text = _text(raw)
        held, was_held = "", held
        if not was_held and unfinished(text):
            held = text.rstrip()
        else:
            yield text
    if held:
        yield held


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


class _Lines:
    """The lines of a file, each cut to :data:`LINE_MAX` bytes; NULs, as in UTF-16 and after a crash, are left out."""

    def __init__(self, file: BinaryIO, most_bytes: int) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self.count = 0
        self.complete = True

    def __iter__(self) -> Iterator[bytes]:
        rest, left = b"", self._most_bytes
        begun = False
        while left > 0:
            chunk = self._file.read(min(_CHUNK_BYTES, left))
            if not chunk:
                break
            left -= len(chunk)
            *lines, last = (chunk.translate(None, b"\0") if b"\0" in chunk else chunk).split(b"\n")
            for line in lines:
                self.count += 1
                yield (rest + line)[:LINE_MAX]
                rest = b""
            rest = (rest + last)[:LINE_MAX]
            begun = bool(rest)
        else:
            self.complete = not self._file.read(1)
        if begun:
            self.count += 1
            yield rest
