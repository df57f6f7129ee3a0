"""A client of the exporter that says bytes: what no library would say, and when."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from swiotlb_exporter.web.conversation import Limits
from tests.support.served import DEADLINE_S, serving

SOON_S: Final = 0.2
"""As long as a test's exporter waits for what never comes."""
GET: Final = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Line:
    """A connection on which a test says bytes, and reads answers."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.socket = socket.create_connection((where.hostname or "", where.port or 0), DEADLINE_S)
        self.file = self.socket.makefile("rb")

    def say(self, said: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(said)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer; status 0 where there is none any more."""
        try:
            first = self.file.readline()
            if not first:
                return 0, {}, b""
            headers = dict(line.decode().rstrip("\r\n").split(": ", 1) for line in iter(self.file.readline, b"\r\n"))
            return int(first.split()[1]), headers, self.file.read(int(headers["Content-Length"]))
        except ConnectionError:
            return 0, {}, b""

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.socket.close()

    def ends(self) -> bool:
        """Whether the exporter closes it, which it is waited for."""
        return self.answer()[0] == 0


@contextmanager
def lines(
    count: int = 1, limits: Limits | None = None, registry: CollectorRegistry | None = None
) -> Iterator[tuple[str, list[Line]]]:
    """An exporter, and connections to it that are closed at the end."""
    with serving(registry, limits=limits) as url, ExitStack() as stack:
        made = [Line(url) for _ in range(count)]
        for line in made:
            stack.callback(line.close)
        yield url, made


def end_within(line: Line, patience_s: float) -> bool:
    """Whether the exporter closes it before so much time is over."""
    line.socket.settimeout(patience_s)
    try:
        return line.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    finally:
        line.socket.settimeout(DEADLINE_S)
