"""The head of a request as RFC 9112 has it, and nothing else.

What a proxy in front of the exporter may read in another way than the exporter is refused: if the two take a request to
end in different places, one of them takes what a client sent for a request of somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_END: Final = b"\r\n"
_FIELDS: Final = 100


class BadHeadError(ValueError):
    """This is no head, or one that is not taken; ``status`` says which."""

    def __init__(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(status.phrase)
        self.status = status


class Lines(Protocol):
    """Where a head is read from."""

    def readline(self) -> bytes:
        """A line with its end; without one where nothing follows."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is asked for, and how."""

    method: str
    target: str
    version: str
    headers: Mapping[str, str]
    """By name, written As-This; of several with a name, all, with commas between."""
    stays: bool
    """Whether another request may follow on the connection: that is wanted, and no body comes before it."""


def read(lines: Lines) -> Head | None:
    """The head that comes next; None: the client ended in the midst of it.

    :raises BadHeadError: it is none.
    """
    first = lines.readline()
    fields = []
    line = lines.readline() if first.endswith(b"\n") else b""
    while line.endswith(b"\n") and line != _END:
        fields.append(line)
        if len(fields) > _FIELDS:
            raise BadHeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        line = lines.readline()
    return parsed(first, fields) if line == _END else None


def parsed(first: bytes, fields: Sequence[bytes]) -> Head:
    """The head that these lines are. :raises BadHeadError: they are none."""
    request = _REQUEST.fullmatch(_whole(first))
    if request is None:
        raise BadHeadError
    method, target, major, minor = (part.decode("ascii") for part in request.groups())
    if major != "1":
        raise BadHeadError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    said = _said(fields)
    hosts = len(said.get("Host", ()))
    if hosts > 1 or (minor != "0" and not hosts):
        raise BadHeadError
    wishes = {wish.strip().lower() for value in said.get("Connection", ()) for wish in value.split(",")}
    stays = "close" not in wishes and (minor != "0" or "keep-alive" in wishes)
    headers = {name: ", ".join(values) for name, values in said.items()}
    return Head(method, target, f"HTTP/{major}.{minor}", headers, stays and not _has_body(said))


def _said(fields: Sequence[bytes]) -> dict[str, list[str]]:
    """The values of each header. A line that goes on with the one before is no header (RFC 9112, 5.2)."""
    said: dict[str, list[str]] = {}
    for line in fields:
        field = _FIELD.fullmatch(_whole(line))
        if field is None:
            raise BadHeadError
        name, value = (part.decode("latin-1") for part in field.groups())
        said.setdefault(name.title(), []).append(value)
    return said


def _has_body(said: Mapping[str, Sequence[str]]) -> bool:
    lengths, coded = said.get("Content-Length", ()), "Transfer-Encoding" in said
    if len(lengths) > 1 or (lengths and coded) or not all(map(_LENGTH.fullmatch, lengths)):
        raise BadHeadError
    return coded or any(map(int, lengths))


def _whole(line: bytes) -> bytes:
    if not line.endswith(_END):
        raise BadHeadError
    return line[: -len(_END)]
