"""A guest whose exporter writes a textfile, and a real Prometheus on the host that reads it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell, ran_well
from tests.support.prometheus import MISSING, Prometheus, eventually, running


@dataclass(frozen=True)
class Watched:
    """What came of a guest whose textfile a Prometheus read."""

    files: Path
    firing: list[dict[str, Any]]

    def samples(self, page: str = "last.prom") -> dict[tuple[str, ...], float]:
        """The samples of a page of metrics, by name and the values of their labels."""
        return samples_of((self.files / page).read_text())


def samples_of(page: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(page)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@contextmanager
def served(read: Callable[[], str]) -> Iterator[str]:
    """A page on loopback; yields where."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = read().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def watch(lab: Lab, machine: Machine, script: str, scratch: Path, until: Callable[[Prometheus], object]) -> Watched:
    """Run a script in a guest, and Prometheus on the textfile it writes, until that has seen enough.

    Then, and where there is no Prometheus at once, the guest finds /results/enough.
    """

    def textfile() -> str:
        found = list(scratch.glob("*/results/swiotlb.prom"))
        return found[0].read_text() if found else ""

    with ThreadPoolExecutor(1) as guests:
        guest = guests.submit(replace(lab, scratch=scratch).run, machine, guest_shell(script))
        eventually(lambda: guest.done() or "\nswiotlb_up 1" in textfile(), deadline_s=1200)
        firing: list[dict[str, Any]] = []
        if not guest.done() and not MISSING:
            with served(textfile) as address, running(scratch, {"guest": address}) as prometheus:
                eventually(lambda: guest.done() or until(prometheus), deadline_s=1200)
                firing = prometheus.alerts()
        for results in scratch.glob("*/results"):
            (results / "enough").touch()
        ran = ran_well(guest.result())
    return Watched(ran.files, firing)
