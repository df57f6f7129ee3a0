"""A client's socket with patience that ends: whoever sends or takes a byte now and then is not waited for."""

from __future__ import annotations

import io
import math
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class TooLongError(OSError):
    """More was sent than a request has."""


class PatientStream(io.RawIOBase):
    """Reads and writes until a time, not for a time each.

    :raises TimeoutError: of every read and write after that time.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until_s = 0.0
        self._left_bytes = 0.0

    def allow(self, patience_s: float, most_bytes: float = math.inf) -> None:
        """Begin anew: there are ``patience_s`` seconds from now, in which at most so many bytes are read."""
        self._until_s = time.monotonic() + patience_s
        self._left_bytes = most_bytes

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)
        most = int(min(len(room), self._left_bytes))
        if not most:
            raise TooLongError
        self._wait()
        count = self._connection.recv_into(room[:most])
        self._left_bytes -= count
        return count

    def write(self, data: ReadableBuffer) -> int:
        """Write all of it."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            self._wait()
            left = left[self._connection.send(left) :]
        return size

    def _wait(self) -> None:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
