"""The exporter's door over real sockets, in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from swiotlb_exporter.web.conversation import Limits
from swiotlb_exporter.web.guard import Guard
from swiotlb_exporter.web.listeners import Tcp, listen
from swiotlb_exporter.web.pages import Pages, State
from swiotlb_exporter.web.server import Server

DEADLINE_S: Final = 300.0


@dataclass(frozen=True)
class Standing:
    """How an exporter stands."""

    word: str = "ok"
    works: bool = True
    said: tuple[tuple[str, str], ...] = (("Kernel", "6.12.1-secret"),)

    def health(self) -> str:
        """One word."""
        return self.word

    def alive(self) -> bool:
        """Whether it works."""
        return self.works

    def about(self) -> Sequence[tuple[str, str]]:
        """What it watches."""
        return self.said


def on_loopback() -> socket.socket:
    """A free port of 127.0.0.1."""
    return listen(Tcp("127.0.0.1", 0))


@contextmanager
def serving(
    registry: CollectorRegistry | None = None,
    state: State | None = None,
    config: Path | None = None,
    limits: Limits | None = None,
    listening: Callable[[], socket.socket] = on_loopback,
) -> Iterator[str]:
    """Pages of a registry, as long as this lasts; yields where they are."""
    guard = Guard(config)
    pages = Pages(registry or CollectorRegistry(), state or Standing(), guard)
    with listening() as listener, Server([listener], pages, guard, limits or Limits()) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server.urls()[0]
        finally:
            server.stop()
            thread.join(DEADLINE_S)
