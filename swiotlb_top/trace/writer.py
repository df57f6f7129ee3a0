"""Write a trace, frame by frame, as things happen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from swiotlb_top.errors import CannotError
from swiotlb_top.events import Gap
from swiotlb_top.records import RECORD_BYTES, count
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import format as layout
from swiotlb_top.trace.codecs import records_payload
from swiotlb_top.trace.format import FrameType
from swiotlb_top.trace.items import End, Header, Known
from swiotlb_top.trace.json_payload import (
    device_name_payload,
    end_payload,
    gap_payload,
    header_payload,
    known_payload,
)
from swiotlb_top.trace.partial_file import PartialFile
from swiotlb_top.trace.possible import check_state
from swiotlb_top.trace.state_payload import state_payload


class TraceWriter:
    """A trace being written, to be used in a ``with`` statement.

    Given a path, the trace grows as ``PATH.partial`` (mode 0600) and becomes ``PATH`` when it is
    closed after :meth:`end`; without :meth:`end`, or when the process dies, the ``.partial`` stays
    and reads as a truncated trace. A file object is only written to, never closed.

    Every method raises CannotError if the file cannot be written (disk full), and from then on always. It raises
    ValueError after :meth:`end` or :meth:`close`, and for what a trace cannot hold.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        header: Header,
    ) -> None:
        first_payload = header_payload(header)
        self.size_bytes = 0
        """How much was written so far."""
        self.states_bytes = 0
        """How much of that is states."""
        self._ended = False
        self._closed = False
        self._failed: CannotError | None = None
        self._file: PartialFile | BinaryIO
        if isinstance(target, str | os.PathLike):
            path = Path(target)
            self._file = PartialFile(path)
            self._name = str(self._file.partial_path)
        else:
            self._file = target
            self._name = str(getattr(target, "name", "the trace"))
        start = layout.preamble()
        self._crc = layout.preamble_crc(start)
        try:
            self._write(start)
            self._frame(FrameType.HEADER, first_payload)
        except CannotError:
            self.discard()
            raise

    def state(self, mem: MemState) -> None:
        """The allocator's state, as it was at this point of the stream.

        :raises CannotError: also for a state no trace can hold: too many slots, or what no kernel can have.
        """
        try:
            payload = state_payload(mem)
            check_state(mem)
        except ValueError as wrong:
            raise CannotError(f"cannot record the state of swiotlb: {wrong}") from None
        self._frame(FrameType.STATE, payload)
        self.states_bytes += len(payload)

    def records(self, packed: bytes) -> None:
        """Consecutive ``struct record``s.

        :raises ValueError: the last one is not whole.
        """
        block_bytes = layout.MAX_BLOCK_RECORDS * RECORD_BYTES
        for begin in range(0, count(packed) * RECORD_BYTES, block_bytes):
            self._frame(FrameType.RECORDS, records_payload(packed[begin : begin + block_bytes]))

    def device_name(self, device_name: DeviceName) -> None:
        """Write name and driver of a device that is in the records."""
        self._frame(FrameType.DEVICE_NAME, device_name_payload(device_name))

    def gap(self, gap: Gap) -> None:
        """Write that records were lost at this point of the stream."""
        self._frame(FrameType.GAP, gap_payload(gap))

    def known(self, before_ns: int) -> None:
        """Write that every call that was entered before ``before_ns`` has returned and is in the trace."""
        self._frame(FrameType.KNOWN, known_payload(Known(before_ns)))

    def end(self, counters: Mapping[str, int], duration_ns: int, lost: int) -> None:
        """Write that the recording is complete, with the counters of the probes, to check the records against."""
        self._frame(FrameType.END, end_payload(End(counters, duration_ns, lost)))
        self._ended = True

    def frame(self, frame_type: int, payload: bytes) -> None:
        """Write a frame as another trace holds it. It is no header, and no end."""
        self._frame(FrameType(frame_type), payload)

    def close(self) -> None:
        """Close the file, and give it its name if the trace has its end."""
        if self._closed or not isinstance(self._file, PartialFile):
            return
        self._closed = True
        if not self._ended:
            self._file.close()
            return
        try:
            self._file.commit()
        except OSError as error:
            raise self._cannot(error) from None

    def discard(self) -> None:
        """Close the file and leave nothing behind, instead of :meth:`close`."""
        if not self._closed and isinstance(self._file, PartialFile):
            self._closed = True
            self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _frame(self, frame_type: FrameType, payload: bytes) -> None:
        if self._ended or self._closed:
            raise ValueError("the trace has ended")
        if self._failed:
            raise self._failed
        limit = layout.MAX_PAYLOAD_BYTES[frame_type]
        if len(payload) > limit:
            raise ValueError(f"{len(payload)} bytes of {frame_type.name}, more than the {limit} a trace can hold")
        crc = layout.frame_crc(frame_type, payload, self._crc)
        # One write a frame: what a dying recorder tears is at most the last one.
        self._write(layout.FRAME.pack(frame_type, len(payload), crc) + payload)
        self._crc = crc

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            if not isinstance(self._file, PartialFile):
                self._file.flush()
        except OSError as error:
            self._failed = self._cannot(error)
            raise self._failed from None
        self.size_bytes += len(data)

    def _cannot(self, error: OSError) -> CannotError:
        return CannotError(f"cannot write {self._name}: {error.strerror}; what it holds so far can be read")
