"""The HTTP side: two pages, on loopback unless told otherwise, until SIGTERM."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from types import FrameType
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import CannotError, SwiotlbTopError
from swiotlb_top.sources import Source
from swiotlb_top.sources.sampler import Sampler

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

SAMPLE_INTERVAL_S: Final = 1.0
"""How often the source is read whether scraped or not: events must not pile up between scrapes."""
REQUEST_TIMEOUT_S: Final = 10.0
"""A client that sends nothing is let go."""

INDEX: Final = b"""<!DOCTYPE html>
<title>swiotlb-top exporter</title>
<h1>swiotlb-top exporter</h1>
<p><a href="/metrics">Metrics</a></p>
"""


def make_app(registry: CollectorRegistry) -> App:
    """A WSGI application: ``/metrics`` of ``registry``, a page at ``/`` that links to it, else 404."""
    metrics: App = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            return metrics(environ, start_response)
        status, content_type, body = (
            ("200 OK", "text/html; charset=utf-8", INDEX)
            if path == "/"
            else ("404 Not Found", "text/plain; charset=utf-8", b"not found: see /metrics\n")
        )
        start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    return app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: str, port: int) -> None:
        self.address_family = family
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        """Bind without looking up this machine's own name, which can take seconds and is not needed."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a line a scrape would fill the journal."""


def listen(host: str, port: int, app: App) -> WSGIServer:
    """Bind to ``host`` ("": every address) and ``port`` (0: a free one).

    :raises CannotError: the address is taken, not allowed, or not one of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server = _Server(family, str(address[0]), port)
    except OSError as error:
        shown = f"[{host}]" if ":" in host else host
        raise CannotError(
            f"cannot listen on {shown}:{port}: {error.strerror or error}; choose another with --web.listen-address"
        ) from error
    server.set_app(app)
    return server


def serve(source: Source, host: str, port: int) -> None:
    """Serve ``source`` until SIGTERM (a clean end) or KeyboardInterrupt.

    :raises CannotError: as :func:`listen`; :raises SwiotlbTopError: the source cannot be read at all.
    """
    registry = CollectorRegistry()
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    with Sampler(source, SAMPLE_INTERVAL_S) as sampler:
        registry.register(SnapshotCollector(lambda: latest(sampler)))
        with listen(host, port, make_app(registry)) as server:
            previous = signal.signal(signal.SIGTERM, end)
            threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
            try:
                _announce(server, sampler.frame.now)
                stop.wait()
            finally:
                signal.signal(signal.SIGTERM, previous)
                server.shutdown()


def latest(sampler: Sampler) -> Snapshot:
    """The last snapshot; :raises SwiotlbTopError: the source has failed since."""
    frame = sampler.frame
    if frame.failure:
        raise SwiotlbTopError(frame.failure)
    return frame.now


def _announce(server: WSGIServer, snapshot: Snapshot) -> None:
    host, port = str(server.server_address[0]), server.server_port
    shown = f"[{host}]" if ":" in host else host
    print(f"swiotlb-top: {snapshot.source} ({snapshot.reason}) on http://{shown}:{port}/metrics", file=sys.stderr)
