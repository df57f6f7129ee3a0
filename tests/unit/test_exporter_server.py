"""The exporter over real sockets: pages, formats, many clients, taken ports, the end."""

from __future__ import annotations

import gzip
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.guard import Guard
from swiotlb_exporter.server import listen, make_app, url_of
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.cli.export import listen_address
from swiotlb_top.errors import CannotError, Exit, UsageError
from tests.prometheus import answers, eventually, free_port
from tests.unit.snapshots import STALLED, ScriptedSource

DEADLINE_S = 300.0
CLIENTS = 50


@contextmanager
def served(*script: Snapshot | Exception, trouble: str = "") -> Iterator[str]:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(ScriptedSource(script).snapshot, is_there=lambda name: True))
    guard = Guard(None)
    with listen("127.0.0.1", 0, guard) as server:
        server.set_app(make_app(registry, lambda: trouble, guard))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield url_of(server, guard.scheme)
        server.shutdown()
        thread.join(DEADLINE_S)


@pytest.fixture
def address() -> Iterator[str]:
    with served(STALLED) as url:
        yield url


def get(url: str, accept: str = "") -> tuple[int, str, str]:
    asked = urllib.request.Request(url, headers={"Accept": accept} if accept else {})  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:  # noqa: S310
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def the_page(url: str, accept: str) -> tuple[str, bytes]:
    """/metrics as whoever asks so gets it, and what it is said to be."""
    asked = urllib.request.Request(f"{url}/metrics", headers={"Accept": accept})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:  # noqa: S310
        return answer.headers["Content-Type"], answer.read()


def test_metrics_are_prometheus_text(address: str) -> None:
    status, content_type, text = get(f"{address}/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert "swiotlb_used_slots 415.0" in text


def test_whoever_asks_for_openmetrics_gets_it(address: str) -> None:
    status, content_type, text = get(f"{address}/metrics", "application/openmetrics-text; version=1.0.0")
    assert (status, content_type.split(";")[0]) == (200, "application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert not re.search(r'^[{"]|{"', text, re.MULTILINE), "a name in quotes, which only Prometheus 3 reads"
    assert "swiotlb_used_slots" in {family.name for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]


def test_whoever_takes_it_compressed_gets_that(address: str) -> None:
    asked = urllib.request.Request(f"{address}/metrics", headers={"Accept-Encoding": "gzip"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:  # noqa: S310
        assert answer.headers["Content-Encoding"] == "gzip"
        assert b"swiotlb_used_slots 415.0" in gzip.decompress(answer.read())


def test_the_front_page_links_to_the_others_and_nothing_else_is_there(address: str) -> None:
    status, content_type, text = get(f"{address}/")
    assert (status, content_type.split(";")[0]) == (200, "text/html")
    assert set(re.findall(r'href="([^"]+)"', text)) == {"/metrics", "/healthz"}
    assert get(f"{address}/etc/passwd")[0] == 404


def test_whoever_asks_for_the_head_gets_no_body(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"HEAD /healthz HTTP/1.0\r\n\r\n")
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


def test_nothing_can_be_posted(address: str) -> None:
    posted = urllib.request.Request(f"{address}/metrics", data=b"x")  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(posted, timeout=DEADLINE_S)  # noqa: S310
    assert refused.value.code == 405


def test_health_is_whether_the_source_is_read(address: str) -> None:
    assert get(f"{address}/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    with served(CannotError("gone"), trouble="<gone>") as blind:
        assert get(f"{blind}/healthz") == (503, "text/plain; charset=utf-8", "blind\n")
        assert "&lt;gone&gt;" in get(f"{blind}/")[2]
        assert get(f"{blind}/metrics")[0] == 200


def test_a_silent_client_does_not_stop_the_others(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))):
        assert get(f"{address}/metrics")[0] == 200


def test_fifty_scrapers_at_once_get_a_whole_page_each(address: str) -> None:
    with ThreadPoolExecutor(CLIENTS) as clients:
        pages = list(clients.map(get, [f"{address}/metrics"] * CLIENTS))
    assert {status for status, _, _ in pages} == {200}
    whole = {len(list(text_string_to_metric_families(text))) for _, _, text in pages}
    assert len(whole) == 1


def test_a_port_in_use_says_what_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(CannotError, match=r"already in use; choose another with --web\.listen-address") as refusal:
            listen("127.0.0.1", taken.getsockname()[1], Guard(None))
        assert refusal.value.exit_code is Exit.CANNOT


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotError, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1", 0, Guard(None))


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
import sys, time
from swiotlb_top.cli import main
from swiotlb_top.sources import select
from tests.unit.snapshots import STALLED, ScriptedSource
def attach():
    time.sleep({attaching_s})
    return ScriptedSource([STALLED])
select.KERNEL_SOURCES.clear()
select.KERNEL_SOURCES["live"] = attach
sys.exit(main(["export", "--interval", "0.1", *sys.argv[1:]]))
"""


@contextmanager
def exporter(*options: str, attaching_s: float = 0.0, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own, over a source that takes a while to attach."""
    words = [sys.executable, "-c", PROGRAM.format(attaching_s=attaching_s), *options]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=variables) as process:
        try:
            yield process
        finally:
            process.kill()


def announced(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    found = re.search(r"https?://\S+", line)
    assert found is not None, line
    return found[0]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_command_serves_until_it_is_told_to_stop(number: int, status: int) -> None:
    with exporter("--web.listen-address", "127.0.0.1:0") as process:
        assert "swiotlb_up 1.0" in get(announced(process))[2]
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == status
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_while_it_attaches_it_answers_that_it_is_down_and_can_be_stopped() -> None:
    port = free_port()
    with exporter("--web.listen-address", f"127.0.0.1:{port}", attaching_s=1000) as process:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/metrics"))
        assert "swiotlb_up 0.0" in get(f"http://127.0.0.1:{port}/metrics")[2]
        assert get(f"http://127.0.0.1:{port}/healthz")[0] == 503
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_no_capability_is_left_to_any_thread_once_it_is_attached() -> None:
    with exporter("--web.listen-address", "127.0.0.1:0") as process:
        get(announced(process))
        threads = [path / "status" for path in Path(f"/proc/{process.pid}/task").iterdir()]
        held = {line for path in threads for line in path.read_text().splitlines() if line.startswith(("CapP", "CapE"))}
        assert {line.split()[1].strip("0") for line in held} == {""}
        assert len(threads) >= 3


def ended(*options: str) -> tuple[int, list[str]]:
    """Status and lines of a command that does not come to serving."""
    with exporter(*options) as process:
        _, said = process.communicate(timeout=DEADLINE_S)
        return process.returncode, said.decode().splitlines()


def test_a_source_that_cannot_be_opened_ends_it_with_one_line(tmp_path: Path) -> None:
    for where in (("--web.listen-address", "127.0.0.1:0"), ("--textfile", str(tmp_path))):
        status, said = ended(*where, "--trace", "/nowhere/stall.swtrace")
        assert (status, len(said)) == (Exit.UNREADABLE, 1), said
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_cannot_be_read_ends_it_with_one_line(tmp_path: Path) -> None:
    status, said = ended("--web.config.file", str(tmp_path / "web.yml"))
    assert (status, len(said)) == (Exit.UNREADABLE, 1), said


def test_a_recording_and_a_source_exclude_each_other() -> None:
    assert ended("--trace", "stall.swtrace", "--source", "live")[0] == Exit.USAGE


def test_options_of_http_do_not_go_with_a_textfile(tmp_path: Path) -> None:
    with exporter("--textfile", str(tmp_path), "--web.listen-address", "127.0.0.1:0") as process:
        assert process.wait(DEADLINE_S) == Exit.USAGE
