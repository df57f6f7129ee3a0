"""What is asked and what is answered, as far as a page knows of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, urlsplit

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has no body."""

    path: str = "/"
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name, whatever its case."""
    client: str = ""
    """The address that it comes from, without a port; empty: this machine."""

    @classmethod
    def of(cls, target: str, headers: Mapping[str, str], client: str) -> Request:
        """The request for a target. :raises ValueError: that is none."""
        parts = urlsplit(target)
        return cls(unquote(parts.path), parts.query, headers, client)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a page, and what its header has besides how long it is."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


def told(status: HTTPStatus, line: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of one line."""
    return Answer(status, f"{line}\n".encode(), headers=headers or {})
