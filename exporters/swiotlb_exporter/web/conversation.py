"""What is said on one connection: the handshake, requests of HTTP/1.1 one after the other, and their answers."""

from __future__ import annotations

import io
import logging
import socket
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from swiotlb_exporter.web import heads
from swiotlb_exporter.web.guard import Guard, Secured
from swiotlb_exporter.web.heads import BadHeadError, Head
from swiotlb_exporter.web.messages import Answer, Request, told
from swiotlb_exporter.web.pages import Pages
from swiotlb_exporter.web.room import Guest, Room
from swiotlb_exporter.web.stream import PatientStream, TooLongError

_LOG: Final = logging.getLogger(__name__)
_METHODS: Final = ("GET", "HEAD")
_UNREAD_BYTES: Final = 1 << 20
"""What is read, and thrown away, of a client that is let go."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client is waited for, and how much it may send."""

    head_s: float = 10.0
    """For the handshake, and again for each request from its first byte; also for the first byte of all."""
    idle_s: float = 330.0
    """For the next request. Prometheus itself lets go after 300 s, so that none of its requests meets a closed door."""
    send_s: float = 30.0
    """For taking an answer."""
    head_bytes: int = 64 << 10
    """Of a request."""
    connections: int = 100


@dataclass(frozen=True, slots=True)
class House:
    """What all connections share."""

    pages: Pages
    guard: Guard
    room: Room
    limits: Limits


def receive(house: House, guest: Guest, who: str) -> None:
    """Shake hands, and answer until one of the two has had enough.

    :raises OSError: the client was too slow, or cannot shake hands.
    """
    secured = house.guard.secured()
    if secured is not None:
        guest.connection.settimeout(house.limits.head_s)
        connection = secured.context.wrap_socket(guest.connection, server_side=True, do_handshake_on_connect=False)
        guest.goes_on_as(connection)
        connection.do_handshake()
        if not secured.tls.allows(connection.getpeercert()):
            _LOG.debug("%s: its certificate has none of client_allowed_sans", who)
            return
    _Conversation(house, guest, who, secured).go_on()


class _Conversation:
    """Requests one after the other, on a stream that has no patience without end."""

    def __init__(self, house: House, guest: Guest, who: str, secured: Secured | None) -> None:
        self._house = house
        self._guest = guest
        self._who = who
        self._secured = secured
        self._stream = PatientStream(guest.connection)
        self._reader = io.BufferedReader(self._stream)

    def go_on(self) -> None:
        """Until the client ends it, is too slow, or is sent away."""
        patience_s = self._house.limits.head_s
        while self._is_to_go_on(patience_s):
            patience_s = self._house.limits.idle_s

    def _is_to_go_on(self, patience_s: float) -> bool:
        """Wait for a request and answer it; whether another may follow."""
        self._allow(patience_s)
        if not self._reader.peek(1):
            return False
        self._allow(self._house.limits.head_s)
        try:
            head = self._head()
        except BadHeadError as bad:
            _LOG.debug("%s: what is no request is answered %d", self._who, bad.status)
            self._send(told(bad.status, bad.status.phrase.lower()), stays=False)
            self._hang_up()
            return False
        return head is not None and self._answered(head)

    def _head(self) -> Head | None:
        try:
            return heads.read(self._reader)
        except TooLongError:
            raise BadHeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None

    def _answered(self, head: Head) -> bool:
        with self._house.room.answering(self._guest) as there:
            # Whoever was let in by what is in force no more shakes hands anew.
            if not there or self._house.guard.secured() is not self._secured:
                return False
            answer = self._answer(head)
        # What follows another method may be a body.
        stays = head.stays and head.method in _METHODS
        _LOG.debug("%s: %s %s %s is answered %d", self._who, head.method, head.target, head.version, answer.status)
        self._send(answer, stays=stays, is_whole=head.method != "HEAD")
        if not stays:
            self._hang_up()
        return stays

    def _hang_up(self) -> None:
        """Let the last answer arrive: to close while something is unread would take it back."""
        self._guest.connection.shutdown(socket.SHUT_WR)
        self._stream.allow(self._house.limits.head_s, _UNREAD_BYTES)
        while self._reader.read1():
            pass

    def _allow(self, patience_s: float) -> None:
        self._stream.allow(patience_s, self._house.limits.head_bytes)

    def _answer(self, head: Head) -> Answer:
        if head.method not in _METHODS:
            return told(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", {"Allow": ", ".join(_METHODS)})
        try:
            request = Request.of(head.target, head.headers, self._who.rpartition(":")[0])
        except ValueError:
            return told(HTTPStatus.BAD_REQUEST, "this is no address of a page")
        try:
            return self._house.pages.answer(request)
        except Exception as fault:
            _LOG.error("%s cannot be shown: %s: %s", request.path, type(fault).__name__, fault)
            return told(HTTPStatus.INTERNAL_SERVER_ERROR, "this page cannot be shown: see the exporter's log")

    def _send(self, answer: Answer, *, stays: bool, is_whole: bool = True) -> None:
        headers = {
            # In place of the server's and Python's versions, which are nobody's business.
            "Server": "swiotlb-top",
            "Date": formatdate(usegmt=True),
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "Connection": "keep-alive" if stays else "close",
            **self._house.guard.headers,
            **answer.headers,
        }
        lines = (
            f"HTTP/1.1 {answer.status} {answer.status.phrase}",
            *(f"{name}: {said}" for name, said in headers.items()),
        )
        head = "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")
        self._allow(self._house.limits.send_s)
        self._stream.write(head + answer.body if is_whole else head)
