"""What systemd hears: attaching, ready, alive while the source answers, stopping."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from swiotlb_exporter.run.service_manager import ServiceManager
from tests.support.served import DEADLINE_S
from tests.unit.exporter.web.test_server import announced, exporter


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(DEADLINE_S)
        yield heard


def test_the_service_is_ready_when_attached_lives_while_it_answers_and_says_that_it_stops(
    systemd: socket.socket,
) -> None:
    name = systemd.getsockname()
    with exporter("--web.listen-address", "127.0.0.1:0", NOTIFY_SOCKET=name, WATCHDOG_USEC="300000") as process:
        assert systemd.recv(4096) == b"STATUS=attaching"
        assert systemd.recv(4096).startswith(b"READY=1\nSTATUS=live: ")
        announced(process)
        assert [systemd.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        process.terminate()
        while (said := systemd.recv(4096)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"


def test_an_abstract_socket_is_heard() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{Path(__file__).name}")
        heard.settimeout(DEADLINE_S)
        ServiceManager({"NOTIFY_SOCKET": f"@{Path(__file__).name}"}).tell("READY=1", "STATUS=x")
        assert heard.recv(4096) == b"READY=1\nSTATUS=x"


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_ours_only_if_it_says_so(environment: dict[str, str], watchdog_s: float | None) -> None:
    assert ServiceManager(environment).watchdog_s == watchdog_s


def test_without_systemd_and_with_one_that_went_away_nothing_happens(tmp_path: Path) -> None:
    ServiceManager({}).tell("READY=1")
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1")
