"""The exporter over real sockets: pages, taken ports, the end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.server import listen, make_app
from swiotlb_top.cli.export import listen_address
from swiotlb_top.errors import CannotError, Exit, UsageError
from tests.unit.snapshots import STALLED, ScriptedSource

DEADLINE_S = 300.0


@pytest.fixture
def address() -> Iterator[str]:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(ScriptedSource([STALLED]).snapshot))
    with listen("127.0.0.1", 0, make_app(registry)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(DEADLINE_S)


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:  # noqa: S310
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_metrics_are_prometheus_text(address: str) -> None:
    status, content_type, text = get(f"{address}/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert "swiotlb_used_slots 415.0" in text


def test_the_front_page_links_to_the_metrics_and_nothing_else_is_there(address: str) -> None:
    status, content_type, text = get(f"{address}/")
    assert (status, content_type.split(";")[0]) == (200, "text/html")
    assert 'href="/metrics"' in text
    assert get(f"{address}/etc/passwd")[0] == 404


def test_a_silent_client_does_not_stop_the_others(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))):
        assert get(f"{address}/metrics")[0] == 200


def test_a_port_in_use_says_what_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(CannotError, match=r"already in use; choose another with --web\.listen-address") as refusal:
            listen("127.0.0.1", taken.getsockname()[1], make_app(CollectorRegistry()))
        assert refusal.value.exit_code is Exit.CANNOT


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotError, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1", 0, make_app(CollectorRegistry()))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9788", ("127.0.0.1", 9788)),
        ("[::1]:9788", ("::1", 9788)),
        (":0", ("", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_listen_addresses(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["", "9788", "localhost", "::1:9788", "host:65536", "host:-1", "host:http", "host:٣"])
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"for example 127\.0\.0\.1:9788") as refusal:
        listen_address(text)
    assert refusal.value.exit_code is Exit.USAGE


PROGRAM = """
import sys
from swiotlb_top.cli import main
from swiotlb_top.sources import select
from tests.unit.snapshots import STALLED, ScriptedSource
select.KERNEL_SOURCES.clear()
select.KERNEL_SOURCES["live"] = lambda: ScriptedSource([STALLED])
sys.exit(main(["export", "--web.listen-address", "127.0.0.1:0"]))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_command_serves_until_it_is_told_to_stop(number: int, status: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr is not None
        try:
            announced = re.search(rb"http://\S+", process.stderr.readline())
            assert announced is not None
            assert "swiotlb_up 1.0" in get(announced[0].decode())[2]
            process.send_signal(number)
            assert process.wait(DEADLINE_S) == status
            assert b"Traceback" not in process.stderr.read()
        finally:
            process.kill()
