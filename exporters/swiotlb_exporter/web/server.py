"""Accepts connections on every listener, and has each received in a thread of its own."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Self

from swiotlb_exporter.web import listeners
from swiotlb_exporter.web.conversation import House, Limits, receive
from swiotlb_exporter.web.guard import Guard
from swiotlb_exporter.web.pages import Pages
from swiotlb_exporter.web.room import Guest, Room

_LOG: Final = logging.getLogger(__name__)
_LIMITS: Final = Limits()
_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_PAUSE_S: Final = 0.1
"""Before it is tried again to accept what could not be accepted: file descriptors or memory are short."""


class Server:
    """Answers on sockets that listen.

    :param limits: how long clients are waited for, and how many there may be.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        pages: Pages,
        guard: Guard,
        limits: Limits = _LIMITS,
    ) -> None:
        self._sockets = sockets
        self._room = Room(limits.connections)
        self._house = House(pages, guard, self._room, limits)
        self._stopped = threading.Event()
        self._said = ""
        """The last complaint, for as long as it holds."""
        self._bell, self._rope = socket.socketpair()

    def urls(self) -> list[str]:
        """Where it answers, without a page."""
        return [listeners.url(listener, self._house.guard.scheme) for listener in self._sockets]

    def serve(self) -> None:
        """Accept until :meth:`stop` is called."""
        with selectors.DefaultSelector() as selector:
            for listener in (self._bell, *self._sockets):
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ)
            while not self._stopped.is_set():
                for key, _ in selector.select():
                    if key.fileobj is not self._bell and isinstance(key.fileobj, socket.socket):
                        self._accept(key.fileobj)

    def stop(self) -> None:
        """Have :meth:`serve` end, and every connection with it."""
        self._stopped.set()
        self._rope.send(b"!")
        self._room.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, name = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._complain(f"a connection cannot be accepted: {error.strerror or error}")
            self._stopped.wait(_PAUSE_S)
            return
        if listener.family in _TCP:
            with suppress(OSError):  # gone already
                # The end of a page must not wait until the client has said that its beginning arrived.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        guest = Guest(connection)
        if not self._room.enter(guest):
            _LOG.debug("%s: all connections are being answered", listeners.peer(name))
            connection.close()
            return
        try:
            threading.Thread(target=self._receive, args=(guest, name), name="client", daemon=True).start()
            self._said = ""
        except (RuntimeError, MemoryError) as error:
            self._complain(f"a connection cannot be answered: {error or type(error).__name__}")
            self._end(guest)

    def _complain(self, line: str) -> None:
        # Clients come as often as they like: the journal is not for each.
        if line != self._said:
            _LOG.warning("%s", line)
        self._said = line

    def _receive(self, guest: Guest, name: Any) -> None:
        who = listeners.peer(name)
        try:
            receive(self._house, guest, who)
        except (OSError, ValueError) as error:
            # Clients that go away or cannot shake hands would fill the journal.
            _LOG.debug("%s: %s", who, error or type(error).__name__)
        except Exception as fault:
            _LOG.error("%s cannot be answered: %s: %s", who, type(fault).__name__, fault)
        finally:
            self._end(guest)

    def _end(self, guest: Guest) -> None:
        self._room.leave(guest)
        guest.send_away()
        guest.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bell.close()
        self._rope.close()
