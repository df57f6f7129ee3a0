"""How many connections there may be: where one more comes, that which has waited longest for its client makes room."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Guest:
    """A connection, in whatever thread. It waits for its client, or an answer is made for that."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._is_sent_away = False

    def goes_on_as(self, connection: socket.socket) -> None:
        """The same, as TLS has it. Who was sent away meanwhile is so again: the socket of before has no connection."""
        self.connection = connection
        if self._is_sent_away:
            self.send_away()

    def send_away(self) -> None:
        """End it from any thread: what waits for it in another finds its end."""
        self._is_sent_away = True
        with suppress(OSError):
            # Not the method of a TLS socket, which would take away what another thread uses.
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


class Room:
    """The connections that there are, at most ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._is_closed = False
        self._waiting: dict[Guest, None] = {}
        """Those that wait for their client to send a request or to take an answer, in the order in which they began."""
        self._answered: set[Guest] = set()

    def enter(self, guest: Guest) -> bool:
        """Let somebody in; False: an answer is being made for each that is here, or nobody is let in any more."""
        with self._lock:
            if self._is_closed:
                return False
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
        """While an answer is made nobody takes the place; False: somebody has taken it already."""
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
        """Send everybody away who is there or comes."""
        with self._lock:
            self._is_closed = True
            for guest in (*self._waiting, *self._answered):
                guest.send_away()
