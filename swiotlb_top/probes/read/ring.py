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
        """Take what is committed: packed records, oldest first; empty where there is none."""
        taken = []
        while chunk := self._take():
            taken.append(chunk)
        return b"".join(taken)

    def drain_what_is_there(self) -> tuple[bool, bytes]:
        """The same, and whether everything is taken for which there was room in the ring before."""
        reserved = self._producer[0]
        records = self.drain()
        return self._consumer[0] >= reserved, records

    def _take(self) -> bytes:
        begin = self._consumer[0]
        waiting = min((self._producer[0] - begin) // _STRIDE, _CHUNK_RECORDS)
        if not waiting:
            return b""
        self._in_order()  # a record's header is read after the position that covers it,
        whole = self._committed(begin & self._mask, waiting)
        if not whole:
            return b""
        self._in_order()  # what a record holds is read after the header that says it is committed,
        records = self._copied(begin & self._mask, whole)
        self._in_order()  # and its space is given back after it was copied.
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
        """A memory barrier: what was read before is read before, and what comes after comes after.

        Python has none but a lock's. Taking it is an acquire, giving it back a release, and neither keeps what
        comes before and what comes after apart; a release followed by an acquire does.
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
