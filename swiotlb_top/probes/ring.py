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

from swiotlb_top.events import RECORD

_PAGE: Final = mmap.PAGESIZE
_HEADER_BYTES: Final = 8
_STRIDE: Final = _HEADER_BYTES + RECORD.size
_STRIDE_U32: Final = _STRIDE // 4
_STRIDE_U64: Final = _STRIDE // 8
_RECORD_U64: Final = RECORD.size // 8
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
        self._barrier = threading.Lock()

    def drain(self) -> bytes:
        """Take what is committed: packed records, oldest first; empty where there is none."""
        taken = []
        while chunk := self._take():
            taken.append(chunk)
        return b"".join(taken)

    def _take(self) -> bytes:
        begin = self._consumer[0]
        with self._barrier:  # acquire: what the producer's position covers is read after it
            waiting = min((self._producer[0] - begin) // _STRIDE, _CHUNK_RECORDS)
        if not waiting:
            return b""
        at = begin & self._mask
        stretch = bytes(self._data[at : at + waiting * _STRIDE])
        headers = memoryview(stretch).cast("I")[::_STRIDE_U32].tolist()
        whole = waiting
        if max(headers) & _BUSY:
            whole = next(i for i, head in enumerate(headers) if head & _BUSY)
        if not whole:
            return b""
        words = memoryview(stretch)[: whole * _STRIDE].cast("Q")
        records = bytearray(whole * RECORD.size)
        out = memoryview(records).cast("Q")
        for column in range(_RECORD_U64):
            out[column::_RECORD_U64] = words[column + 1 :: _STRIDE_U64]
        with self._barrier:  # release: the space is given back after it was copied
            self._consumer[0] = begin + whole * _STRIDE
        return bytes(records)

    def close(self) -> None:
        """Unmap; the map itself is its owner's."""
        for view in (self._consumer, self._producer, self._data):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()
