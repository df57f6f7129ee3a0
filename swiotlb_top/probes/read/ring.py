"""The consumer's side of the BPF ring buffer, in bulk.

Every record has one size, so a whole stretch of the ring is copied and stripped of its headers
with a few strided copies: no callback and no Python per record.  The layout is the kernel's
(kernel/bpf/ringbuf.c): a page with the consumer's position, a page with the producer's, then the
data mapped twice, so that a stretch over the end is contiguous.
"""

from __future__ import annotations

import mmap
import threading
from typing import Final

from swiotlb_top.records import RECORD_BYTES

_PAGE: Final = mmap.PAGESIZE
_HEADER_BYTES: Final = 8
_STRIDE: Final = _HEADER_BYTES + RECORD_BYTES
_STRIDE_U32: Final = _STRIDE // 4
_STRIDE_U64: Final = _STRIDE // 8
_RECORD_U64: Final = RECORD_BYTES // 8
_BUSY: Final = 1 << 31
_CHUNK_RECORDS: Final = 1 << 16


class Ring:
    """One ring buffer map, read by this process alone.

    :param fd: the map's file descriptor; stays the caller's.
    :param size_bytes: the data area, a power of two times the page size.
    """

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._mask = size_bytes - 1
        self._consumer_map = mmap.mmap(fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._producer_map = mmap.mmap(fd, _PAGE + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self._consumer = memoryview(self._consumer_map).cast("Q")
        self._producer = memoryview(self._producer_map)[:8].cast("Q")
        self._data = memoryview(self._producer_map)[_PAGE:]
        self._lock = threading.Lock()

    def drain(self) -> bytes:
        """Take the committed records, up to the first that is still being written: packed, oldest first."""
        taken = []
        while chunk := self._take():
            taken.append(chunk)
        return b"".join(taken)

    def drain_what_is_there(self) -> tuple[bool, bytes]:
        """Whether all records that were reserved in the ring at the beginning are taken, and those that :meth:`drain`
        takes."""
        reserved = self._producer[0]
        records = self.drain()
        return self._consumer[0] >= reserved, records

    def _take(self) -> bytes:
        begin = self._consumer[0]
        waiting = min((self._producer[0] - begin) // _STRIDE, _CHUNK_RECORDS)
        if not waiting:
            return b""
        self._in_order()  # read a record's header after the producer's position,
        whole = self._committed(begin & self._mask, waiting)
        if not whole:
            return b""
        self._in_order()  # read the record after the header that says that it is committed,
        records = self._copied(begin & self._mask, whole)
        self._in_order()  # and give its space back after it was copied.
        self._consumer[0] = begin + whole * _STRIDE
        return records

    def _committed(self, at: int, waiting: int) -> int:
        """How many records from ``at`` on are committed, one after the other."""
        headers = self._data[at : at + waiting * _STRIDE].cast("I")[::_STRIDE_U32].tolist()
        if max(headers) & _BUSY:
            return next(i for i, head in enumerate(headers) if head & _BUSY)
        return waiting

    def _copied(self, at: int, count: int) -> bytes:
        """So many records from ``at`` on, without their headers."""
        words = memoryview(bytes(self._data[at : at + count * _STRIDE])).cast("Q")
        records = bytearray(count * RECORD_BYTES)
        out = memoryview(records).cast("Q")
        for column in range(_RECORD_U64):
            out[column::_RECORD_U64] = words[column + 1 :: _STRIDE_U64]
        return bytes(records)

    def _in_order(self) -> None:
        """A memory barrier: every access before it happens before every access after it.

        Python has no barriers but those of a lock. Taking the lock is an acquire, giving it back a release; only a
        release that is followed by an acquire orders what is before both and what is after both.
        """
        for _ in ("release", "acquire"):
            with self._lock:
                pass

    def close(self) -> None:
        """Unmap; the map itself is its owner's."""
        for view in (self._consumer, self._producer, self._data):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()
