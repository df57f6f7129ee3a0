"""How many connections there may be: where one more comes, that which has waited longest for a request makes room."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Guest:
    """A connection, in whatever thread. It waits for a request or is being answered."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send_away(self) -> None:
        """End it from any thread: what waits for it in another finds its end."""
        with suppress(OSError):
            # Not the method of a TLS socket, which would take away what another thread uses.
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


class Room:
    """The connections that there are, at most ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: dict[Guest, None] = {}
        """Those that wait for a request, in the order in which they began to."""
        self._answered: set[Guest] = set()

    def enter(self, guest: Guest) -> bool:
        """Let somebody in who waits for a request; False: all that are here are being answered."""
        with self._lock:
            if len(self._waiting) + len(self._answered) >= self._most:
                if not self._waiting:
                    return False
                longest = next(iter(self._waiting))
                del self._waiting[longest]
                longest.send_away()
            self._waiting[guest] = None
            return True

    @contextmanager
    def answering(self, guest: Guest) -> Iterator[bool]:
        """While a request is answered nobody takes the place; False: somebody has taken it already."""
        with self._lock:
            there = guest in self._waiting
            if there:
                del self._waiting[guest]
                self._answered.add(guest)
        try:
            yield there
        finally:
            with self._lock:
                if guest in self._answered:
                    self._answered.remove(guest)
                    self._waiting[guest] = None

    def leave(self, guest: Guest) -> None:
        """Make room."""
        with self._lock:
            self._waiting.pop(guest, None)
            self._answered.discard(guest)

    def close(self) -> None:
        """Send everybody away who is there."""
        with self._lock:
            for guest in (*self._waiting, *self._answered):
                guest.send_away()
