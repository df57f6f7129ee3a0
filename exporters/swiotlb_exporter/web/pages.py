"""The pages: ``/metrics``, ``/healthz``, ``/livez``, what to do about alerts, and at ``/`` what is being watched."""

from __future__ import annotations

import gzip
import html
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import gzip_accepted

from swiotlb_exporter.web import exposition, runbook
from swiotlb_exporter.web.guard import Guard
from swiotlb_exporter.web.messages import HTML, Answer, Request, told

_INDEX: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>swiotlb-top exporter</title></head>
<body>
<h1>swiotlb-top exporter</h1>
<table>
{rows}
</table>
<ul>
<li><a href="/metrics">Metrics</a></li>
<li><a href="/healthz">Health</a>: whether swiotlb is watched</li>
<li><a href="/livez">Life</a>: whether the exporter works</li>
<li><a href="/alerts.md">Alerts</a>: what to do about each</li>
</ul>
</body>
</html>
"""
_MADE_AT_ONCE: Final = 4
"""Pages of metrics: however many ask, what watches the kernel must get its share of the interpreter."""
_ROW: Final = "<tr><th>{}</th><td>{}</td></tr>"


class State(Protocol):
    """How the exporter stands; see :class:`.Watch`."""

    def health(self) -> str:
        """``ok``: swiotlb is watched; ``off``: this kernel has none in use; ``blind``: nobody can tell."""

    def alive(self) -> bool:
        """Whether the exporter itself works; a restart may help where it does not."""

    def about(self) -> Sequence[tuple[str, str]]:
        """What is being watched, or why nothing is: terms, and what is to be said of each."""


class Pages:
    """The pages, and who may see them.

    ``/metrics?name[]=swiotlb_up`` gives the families of these names only, as Prometheus's own exporters do.

    :param state: how the exporter stands, asked at each request.
    :param guard: asked before every page but the health pages (a kubelet has no password, and learns one word) and that
        of alerts (who is woken up may have none either, and it says nothing of this machine).
    """

    def __init__(self, registry: CollectorRegistry, state: State, guard: Guard) -> None:
        self._registry = registry
        self._state = state
        self._guard = guard
        self._making = threading.Semaphore(_MADE_AT_ONCE)
        self._open: dict[str, Callable[[], Answer]] = {
            "/healthz": self._health,
            "/livez": self._life,
            runbook.PATH: _alerts,
        }
        self._guarded: dict[str, Callable[[Request], Answer]] = {"/metrics": self._metrics, "/": self._index}

    def answer(self, request: Request) -> Answer:
        """The page that is asked for, or why it is not shown. Whoever may not see the metrics learns no version."""
        if request.path in self._open:
            return self._open[request.path]()
        return self._guard.refusal(request) or self._guarded.get(request.path, _nothing)(request)

    def _metrics(self, request: Request) -> Answer:
        form = exposition.asked_for(request.headers.get("Accept", ""))
        names = parse_qs(request.query).get("name[]")
        with self._making:
            body = form.write((self._registry.restricted_registry(names) if names else self._registry).collect())
        if not gzip_accepted(request.headers.get("Accept-Encoding", "")):
            return Answer(HTTPStatus.OK, body, form.content_type)
        # The usual level takes ten times as long for a tenth less.
        packed = gzip.compress(body, compresslevel=1)
        return Answer(HTTPStatus.OK, packed, form.content_type, {"Content-Encoding": "gzip"})

    def _health(self) -> Answer:
        word = self._state.health()
        return told(HTTPStatus.SERVICE_UNAVAILABLE if word == "blind" else HTTPStatus.OK, word)

    def _life(self) -> Answer:
        alive = self._state.alive()
        return told(HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE, "ok" if alive else "stuck")

    def _index(self, request: Request) -> Answer:
        rows = (_ROW.format(html.escape(term), html.escape(said)) for term, said in self._state.about())
        return Answer(HTTPStatus.OK, _INDEX.format(rows="\n".join(rows)).encode(), HTML)


def _alerts() -> Answer:
    return Answer(HTTPStatus.OK, runbook.page().encode(), HTML)


def _nothing(request: Request) -> Answer:
    return told(HTTPStatus.NOT_FOUND, "not found: see /metrics")
