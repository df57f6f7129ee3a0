"""Read a file that should be a trace, but may be cut short, damaged, hostile, or no trace at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from swiotlb_top.errors import UnreadableError, UsageError
from swiotlb_top.stream import Stream
from swiotlb_top.trace import format as layout
from swiotlb_top.trace.codecs import UnknownCodecError, read_records
from swiotlb_top.trace.format import FrameType
from swiotlb_top.trace.items import PARTIAL, Header, Item, Records
from swiotlb_top.trace.json_payload import read_device_name, read_end, read_gap, read_header, read_known
from swiotlb_top.trace.possible import ImpossibleError, Possible
from swiotlb_top.trace.state_payload import read_state

_T = TypeVar("_T")
_Frame = tuple[int, int, bytes]
"""Offset in the file, type, payload."""

_READERS: Final[dict[int, Callable[[bytes], Item]]] = {
    FrameType.HEADER: read_header,
    FrameType.STATE: read_state,
    FrameType.RECORDS: lambda payload: Records(read_records(payload)),
    FrameType.DEVICE_NAME: read_device_name,
    FrameType.GAP: read_gap,
    FrameType.END: read_end,
    FrameType.KNOWN: read_known,
}


def is_recording(name: str) -> bool:
    """Whether a file begins as traces do; whoever reads on finds out whether it is one."""
    try:
        path = Path(name)
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(layout.MAGIC)) == layout.MAGIC
    except (OSError, ValueError):
        return False


class TraceReader:
    """A trace on disk. :attr:`header` is read at once; iterating yields every item in file order, the header first.

    Each iteration reads the file anew. If the file is cut short or damaged, it yields every whole
    frame before the fault and then raises, so that a caller can report what it has read.

    :raises UnreadableError: here, and while iterating: one line that names the file and says what to do.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path: Final = Path(path)
        self.header: Final = self._read_header()

    def _read_header(self) -> Header:
        with _open(self._path) as file:
            offset, _, payload = next(_frames(self._path, file))
            return _decode(self._path, offset, payload, read_header)

    def stream(self) -> Stream:
        """The items after the header. :raises UnreadableError: while iterating, as for the reader itself."""
        return (item for item in self if not isinstance(item, Header))

    def __iter__(self) -> Iterator[Item]:
        with _open(self._path) as file:
            possible = Possible()
            for offset, frame_type, payload in _frames(self._path, file):
                item = _decode(self._path, offset, payload, _READERS[frame_type])
                try:
                    yield from possible.passed(item)
                except ImpossibleError as wrong:
                    raise _impossible(self._path, offset, wrong) from None


def whole(path: Path) -> TraceReader:
    """A recording of which nothing is claimed but by the calls of all devices.

    :raises UsageError: it is partial.
    :raises UnreadableError: as :class:`TraceReader`.
    """
    trace = TraceReader(path)
    if trace.header.partial:
        raise UsageError(f"{path} is partial: {PARTIAL}; name the recording from which it was cut")
    return trace


def _open(path: Path) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UnreadableError(f"{path} is a directory; name a .swtrace file in it")
        if not stat.S_ISREG(mode):
            raise UnreadableError(f"{path} is no regular file; copy the trace into one first")
        return path.open("rb")
    except FileNotFoundError:
        raise UnreadableError(f"{path} does not exist; record a trace with `swiotlb-top record`") from None
    except PermissionError:
        raise UnreadableError(f"no permission to read {path}; become its owner or root") from None
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot open {path}: {error}") from None


def _truncated(path: Path, offset: int, why: str) -> UnreadableError:
    return UnreadableError(
        f"{path} is truncated at byte {offset}: {why}; the recorder did not finish, or copy the file again"
    )


def _damaged(path: Path, offset: int, why: object) -> UnreadableError:
    return UnreadableError(f"{path} is damaged at byte {offset}: {why}; copy it again, or record anew")


def _impossible(path: Path, offset: int, why: object) -> UnreadableError:
    return UnreadableError(f"{path} holds what no kernel does, at byte {offset}: {why}; record anew")


def _newer(path: Path, what: str) -> UnreadableError:
    return UnreadableError(
        f"{path} was written by a newer swiotlb-top ({what}); this one reads {layout.FORMAT}; use the newer one"
    )


def _read_preamble(path: Path, file: BinaryIO) -> int:
    """Check the preamble, and return its crc, from which that of the first frame continues."""
    start = file.read(layout.PREAMBLE.size)
    if not start:
        raise UnreadableError(f"{path} is empty; record a trace with `swiotlb-top record`")
    if not start.startswith(layout.MAGIC[: len(start)]):
        raise UnreadableError(f"{path} is not a swiotlb-top trace; name one that `swiotlb-top record` wrote")
    if len(start) < layout.PREAMBLE.size:
        raise _truncated(path, len(start), "it ends within its first bytes")
    _, version, crc = layout.PREAMBLE.unpack(start)
    if crc != layout.preamble_crc(start):
        raise _damaged(path, len(layout.MAGIC), "its format number cannot be trusted")
    if version != layout.FORMAT:
        raise _newer(path, f"format {version}")
    return layout.preamble_crc(start)


def _frames(path: Path, file: BinaryIO) -> Iterator[_Frame]:
    """Whole frames of known types: HEADER first and once, END last."""
    try:
        crc = _read_preamble(path, file)
        expected_header = True
        while True:
            offset = file.tell()
            frame_type, payload, crc = _read_frame(path, file, crc)
            if expected_header != (frame_type == FrameType.HEADER):
                raise _damaged(path, offset, "its header is not where it belongs")
            expected_header = False
            if frame_type in _READERS:
                yield offset, frame_type, payload
            elif not frame_type & layout.OPTIONAL_BIT:
                raise _newer(path, f"frame type {frame_type}")
            if frame_type == FrameType.END:
                if file.read(1):
                    raise _damaged(path, file.tell() - 1, "something follows its end")
                return
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}; copy it elsewhere first") from None


def _read_frame(path: Path, file: BinaryIO, previous_crc: int) -> tuple[int, bytes, int]:
    """Type, payload and crc of the frame at the file's position."""
    offset = file.tell()
    head = file.read(layout.FRAME.size)
    if len(head) < layout.FRAME.size:
        raise _truncated(path, offset + len(head), "it has no end")
    frame_type, length, told_crc = layout.FRAME.unpack(head)
    if length > layout.MAX_PAYLOAD_BYTES.get(frame_type, layout.MAX_OPTIONAL_PAYLOAD_BYTES):
        raise _damaged(path, offset, f"a frame of {length} bytes is more than a trace can hold")
    payload = file.read(length)
    if len(payload) < length:
        raise _truncated(path, offset + len(head) + len(payload), "it ends within a frame")
    crc = layout.frame_crc(frame_type, payload, previous_crc)
    if crc != told_crc:
        raise _damaged(path, offset, "checksum mismatch")
    return frame_type, payload, crc


def _decode(path: Path, offset: int, payload: bytes, read: Callable[[bytes], _T]) -> _T:
    try:
        return read(payload)
    except UnknownCodecError as unknown:
        raise UnreadableError(
            f"{path} holds {unknown}, which this one does not read; use the swiotlb-top that wrote it"
        ) from None
    except ValueError as wrong:
        raise _damaged(path, offset, wrong) from None
