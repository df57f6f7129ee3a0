"""The exporter over real sockets: pages, formats, many clients, taken ports, the end."""

from __future__ import annotations

import gzip
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import CannotError, Exit
from tests.support.prometheus import ROOT, answers, eventually, free_port
from tests.support.served import DEADLINE_S, Standing, serving
from tests.support.snapshots import STALLED, ScriptedSource

CLIENTS = 50
A_DAY = timedelta(days=1)


@contextmanager
def served(*script: Snapshot | Exception, standing: Standing | None = None) -> Iterator[str]:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(ScriptedSource(script).snapshot, is_there=lambda name: True))
    with serving(registry, standing) as url:
        yield url


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
    assert set(re.findall(r'href="([^"]+)"', text)) == {"/metrics", "/healthz", "/livez", "/alerts.md"}
    assert get(f"{address}/etc/passwd")[0] == 404


def test_what_to_do_about_alerts_is_a_page_with_a_section_each(address: str) -> None:
    status, content_type, text = get(f"{address}/alerts.md")
    assert (status, content_type.split(";")[0]) == (200, "text/html")
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    assert re.findall(r'<h2 id="(swiotlb\w+)">', text) == [section.lower() for section in sections]
    assert "Free some memory" in text


def test_whoever_asks_for_the_head_gets_no_body(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"HEAD /healthz HTTP/1.0\r\n\r\n")
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("page", ["/", "/metrics", "/healthz", "/alerts.md", "/absent"])
def test_the_head_says_how_long_the_body_is_and_no_version_to_strangers(address: str, page: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    lengths = set()
    for method in ("HEAD", "GET"):
        client = http.client.HTTPConnection(host, int(port), timeout=DEADLINE_S)
        client.request(method, page)
        answer = client.getresponse()
        body = answer.read()
        lengths.add(answer.headers["Content-Length"])
        assert answer.headers["Server"] == "swiotlb-top"
        assert bool(body) == (method == "GET")
    # Of /metrics two scrapes may differ in a digit of what they took.
    assert "0" not in lengths
    assert len(lengths) == 1 or page == "/metrics"


def test_families_can_be_asked_for_by_name(address: str) -> None:
    _, _, text = get(f"{address}/metrics?name[]=swiotlb_up&name[]=swiotlb_maps_total")
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} == {
        "swiotlb_up",
        "swiotlb_maps_total",
    }


def test_nothing_can_be_posted(address: str) -> None:
    posted = urllib.request.Request(f"{address}/metrics", data=b"x")  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(posted, timeout=DEADLINE_S)  # noqa: S310
    assert refused.value.code == 405
    assert refused.value.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(("word", "code"), [("ok", 200), ("off", 200), ("blind", 503)])
def test_health_is_whether_swiotlb_is_watched_as_far_as_there_is_one(word: str, code: int) -> None:
    with served(STALLED, standing=Standing(word)) as url:
        assert get(f"{url}/healthz") == (code, "text/plain; charset=utf-8", f"{word}\n")
        assert get(f"{url}/livez")[0] == 200


def test_life_is_whether_the_exporter_works(address: str) -> None:
    assert get(f"{address}/livez") == (200, "text/plain; charset=utf-8", "ok\n")
    with served(STALLED, standing=Standing(works=False)) as stuck:
        assert get(f"{stuck}/livez") == (503, "text/plain; charset=utf-8", "stuck\n")


def test_the_front_page_says_what_is_watched_or_why_nothing_is(address: str) -> None:
    assert "<tr><th>Kernel</th><td>6.12.1-secret</td></tr>" in get(f"{address}/")[2]
    with served(CannotError("gone"), standing=Standing("blind", said=(("Not watched", "<gone>"),))) as blind:
        assert "&lt;gone&gt;" in get(f"{blind}/")[2]
        assert get(f"{blind}/metrics")[0] == 200


def test_the_front_page_says_kernel_source_revision_and_since_when() -> None:
    with exporter("--web.listen-address", "127.0.0.1:0") as process:
        page = get(announced(process).removesuffix("metrics"))[2]
    rows = dict(re.findall("<tr><th>(.*)</th><td>(.*)</td></tr>", page))
    assert STALLED.verdict is not None
    assert (rows["Kernel"], rows["Reference"]) == (STALLED.kernel_release, STALLED.verdict.revision)
    assert rows["Source"] == f"{STALLED.source}: {STALLED.reason}"
    assert abs(datetime.fromisoformat(rows["Watched since"].replace(" UTC", "+00:00")) - datetime.now(UTC)) < A_DAY


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


PROGRAM = """
import sys, time
from swiotlb_top.cli import main
from swiotlb_exporter.run import serve
from swiotlb_top.errors import CannotError
from swiotlb_top.sources import select
from tests.support.snapshots import STALLED, ScriptedSource
tried = 0
def attach():
    global tried
    tried += 1
    time.sleep({attaching_s})
    if {refusal!r} and tried <= {refusals}:
        raise CannotError({refusal!r})
    return ScriptedSource([STALLED])
serve.RETRY_S = 0.1
select.KERNEL_SOURCES.clear()
select.KERNEL_SOURCES["live"] = attach
sys.exit(main(["export", "--interval", "0.1", *sys.argv[1:]]))
"""


def program(attaching_s: float = 0.0, refusal: str = "", refusals: int = 1_000_000) -> str:
    return PROGRAM.format(attaching_s=attaching_s, refusal=refusal, refusals=refusals)


@contextmanager
def exporter(
    *options: str, attaching_s: float = 0.0, refusal: str = "", refusals: int = 1_000_000, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own, over a source that takes a while to attach, or refuses so many times."""
    words = [sys.executable, "-c", program(attaching_s, refusal, refusals), *options]
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


def test_a_machine_that_cannot_be_watched_is_served_as_blind_with_the_reason_said_once() -> None:
    with exporter("--web.listen-address", "127.0.0.1:0", refusal="no BTF") as process:
        url = announced(process).removesuffix("/metrics")
        text = get(f"{url}/metrics")[2]
        assert "swiotlb_up 0.0" in text
        assert 'swiotlb_blind_info{reason="no BTF"} 1.0' in text
        assert get(f"{url}/healthz")[2] == "blind\n"
        assert get(f"{url}/livez")[0] == 200
        assert "<th>Not watched</th><td>no BTF</td>" in get(f"{url}/")[2]
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_machine_that_can_be_watched_later_is_watched_then() -> None:
    with exporter("--web.listen-address", "127.0.0.1:0", refusal="no capability", refusals=3) as process:
        url = announced(process)
        eventually(lambda: "swiotlb_up 1.0" in get(url)[2])
        assert "swiotlb_blind_info{" not in get(url)[2]


def test_with_exit_if_blind_it_ends_instead() -> None:
    with exporter("--exit-if-blind", "--web.listen-address", "127.0.0.1:0", refusal="no BTF") as process:
        assert process.wait(DEADLINE_S) == Exit.CANNOT
        assert process.stderr is not None
        assert process.stderr.read() == b"swiotlb-top: no BTF\n"


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
