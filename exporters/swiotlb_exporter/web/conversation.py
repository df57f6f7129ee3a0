"""What is said on one connection: the handshake, requests of HTTP/1.1 one after the other, and their answers."""

from __future__ import annotations

import io
import logging
import socket
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final

from swiotlb_exporter.web.guard import Guard, Secured
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
        guest.connection = connection
        connection.do_handshake()
        if not secured.tls.allows(connection.getpeercert()):
            _LOG.debug("%s: its certificate has none of client_allowed_sans", who)
            return
    _Conversation(house, guest, who, secured).go_on()


class _Conversation(BaseHTTPRequestHandler):
    """Python's parser of requests, on a stream that has no patience without end."""

    protocol_version = "HTTP/1.1"

    # Not that of the base class, which would begin to converse.
    def __init__(self, house: House, guest: Guest, who: str, secured: Secured | None) -> None:
        self._house = house
        self._guest = guest
        self._who = who
        self._secured = secured
        self._stream = PatientStream(guest.connection)
        self._reader = self.rfile = io.BufferedReader(self._stream)
        self.requestline, self.command, self.close_connection = "", "", False

    def go_on(self) -> None:
        """Until the client ends it, is too slow, or is sent away."""
        patience_s = self._house.limits.head_s
        while not self.close_connection and self._has_answered_one(patience_s):
            patience_s = self._house.limits.idle_s
        if self.close_connection:
            self._hang_up()

    def _has_answered_one(self, patience_s: float) -> bool:
        """Wait for a request and answer it; False: there is none, or nobody to be answered."""
        self._allow(patience_s)
        if not self._reader.peek(1):
            return False
        self._allow(self._house.limits.head_s)
        if not self._is_request():
            return False
        with self._house.room.answering(self._guest) as there:
            # Whoever was let in by what is in force no more shakes hands anew.
            if not there or self._house.guard.secured() is not self._secured:
                self.close_connection = False
                return False
            self._send(self._answer())
            return True

    def _hang_up(self) -> None:
        """Let the last answer arrive: to close while something is unread would take it back."""
        self._guest.connection.shutdown(socket.SHUT_WR)
        self._stream.allow(self._house.limits.head_s, _UNREAD_BYTES)
        while self._reader.read1():
            pass

    def _allow(self, patience_s: float) -> None:
        self._stream.allow(patience_s, self._house.limits.head_bytes)

    def _is_request(self) -> bool:
        try:
            self.raw_requestline = self._reader.readline()
            return self.parse_request()
        except TooLongError:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return False

    def _answer(self) -> Answer:
        if self.command not in _METHODS:
            # What follows may be a body.
            self.close_connection = True
            return told(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", {"Allow": ", ".join(_METHODS)})
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.title()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        try:
            request = Request.of(self.path, headers)
        except ValueError:
            return told(HTTPStatus.BAD_REQUEST, "this is no address of a page")
        try:
            return self._house.pages.answer(request)
        except Exception as fault:
            _LOG.error("%s cannot be shown: %s: %s", request.path, type(fault).__name__, fault)
            return told(HTTPStatus.INTERNAL_SERVER_ERROR, "this page cannot be shown: see the exporter's log")

    def _send(self, answer: Answer) -> None:
        headers = {
            # In place of the server's and Python's versions, which are nobody's business.
            "Server": "swiotlb-top",
            "Date": self.date_time_string(),
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "Connection": "close" if self.close_connection else "keep-alive",
            **self._house.guard.headers,
            **answer.headers,
        }
        lines = (
            f"HTTP/1.1 {answer.status} {answer.status.phrase}",
            *(f"{name}: {said}" for name, said in headers.items()),
        )
        head = "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")
        _LOG.debug("%s: %s is answered %d", self._who, self.requestline, answer.status)
        self._allow(self._house.limits.send_s)
        self._stream.write(head if self.command == "HEAD" else head + answer.body)

    def handle_expect_100(self) -> bool:
        """Do not ask for the body, which is not wanted."""
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request. The base class calls it, and would say Python's version."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(told(status, status.phrase.lower()))
