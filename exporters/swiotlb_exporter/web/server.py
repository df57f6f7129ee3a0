"""The HTTP side: ``/metrics``, ``/healthz``, ``/livez``, a page at ``/``, and what to do about alerts."""

from __future__ import annotations

import gzip
import html
import socket
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, Protocol
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import gzip_accepted

from swiotlb_exporter.web import exposition, runbook
from swiotlb_exporter.web.guard import Guard, guarded
from swiotlb_top.errors import CannotError

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class State(Protocol):
    """How the exporter stands; see :class:`.Watch`."""

    def health(self) -> str:
        """``ok``: swiotlb is watched; ``off``: this kernel has none in use; ``blind``: nobody can tell."""

    def alive(self) -> bool:
        """Whether the exporter itself works; a restart may help where it does not."""

    def sentence(self) -> str:
        """What is being watched, or why nothing is."""


REQUEST_TIMEOUT_S: Final = 10.0
"""A client that sends nothing is let go."""

_INDEX: Final = """<!DOCTYPE html>
<html lang="en">
<head><title>swiotlb-top exporter</title></head>
<body>
<h1>swiotlb-top exporter</h1>
<p>{state}</p>
<p><a href="/metrics">Metrics</a> <a href="/healthz">Health</a> <a href="/alerts.md">Alerts</a></p>
</body>
</html>
"""


def make_app(registry: CollectorRegistry, state: State, guard: Guard) -> App:
    """A WSGI application: ``/metrics`` of ``registry`` in the format that is asked for, the two health pages, the page
    of alerts, ``/``.

    ``/metrics?name[]=swiotlb_up`` gives the families of these names only, as Prometheus's own exporters do.

    :param state: how the exporter stands, asked at each request.
    :param guard: asked before every page but the health pages (a kubelet has no password, and learns one word) and that
        of alerts (who is woken up may have none either, and it says nothing of this machine).
    """

    def metrics(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        form = exposition.asked_for(environ.get("HTTP_ACCEPT", ""))
        names = parse_qs(environ.get("QUERY_STRING", "")).get("name[]")
        body = form.write((registry.restricted_registry(names) if names else registry).collect())
        headers = [("Content-Type", form.content_type)]
        if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
            # The usual level takes ten times as long for a tenth less.
            body = gzip.compress(body, compresslevel=1)
            headers.append(("Content-Encoding", "gzip"))
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def health(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        word = state.health()
        return _page(start_response, "503 Service Unavailable" if word == "blind" else "200 OK", f"{word}\n")

    def life(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        alive = state.alive()
        return _page(start_response, "200 OK" if alive else "503 Service Unavailable", "ok\n" if alive else "stuck\n")

    def index(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return _page(start_response, "200 OK", _INDEX.format(state=html.escape(state.sentence())), "html")

    pages = {"/healthz": health, "/livez": life, runbook.PATH: _alerts}
    pages |= {"/metrics": guarded(metrics, guard), "/": guarded(index, guard)}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def nameless(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            # In place of the server's and Python's versions, which are nobody's business.
            return start_response(status, [*headers, ("Server", "swiotlb-top")], *more)

        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            allow = ("Allow", "GET, HEAD")
            return _page(nameless, "405 Method Not Allowed", "only GET and HEAD\n", headers=(allow,))
        body = pages.get(environ.get("PATH_INFO", "/"), _nothing)(environ, nameless)
        return body if method == "GET" else ()

    return app


def _alerts(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return _page(start_response, "200 OK", runbook.page(), "html")


def _nothing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return _page(start_response, "404 Not Found", "not found: see /metrics\n")


def _page(
    start_response: Callable[..., Any],
    status: str,
    text: str,
    kind: str = "plain",
    headers: Iterable[tuple[str, str]] = (),
) -> list[bytes]:
    body = text.encode()
    content = [("Content-Type", f"text/{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*content, *headers])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, family: socket.AddressFamily, address: str, port: int, guard: Guard) -> None:
        self.address_family = family
        self._guard = guard
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        """Bind without looking up this machine's own name, which can take seconds and is not needed."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the client's own thread, so that a slow one holds up nobody."""
        context = self._guard.tls_context()
        if context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(REQUEST_TIMEOUT_S)
        wrapped = context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(wrapped, client_address)
        finally:
            self.shutdown_request(wrapped)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away or cannot shake hands: they would fill the journal."""


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a line a scrape would fill the journal."""


def listen(host: str, port: int, guard: Guard) -> WSGIServer:
    """Bind to ``host`` ("": every address) and ``port`` (0: a free one); give it an app before it serves.

    :raises CannotError: the address is taken, not allowed, or not one of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _Server(family, str(address[0]), port, guard)
    except OSError as error:
        shown = f"[{host}]" if ":" in host else host
        raise CannotError(
            f"cannot listen on {shown}:{port}: {error.strerror or error}; choose another with --web.listen-address"
        ) from error


def url_of(server: WSGIServer, scheme: str) -> str:
    """Where it answers, without a path."""
    host = str(server.server_address[0])
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.server_port}"
