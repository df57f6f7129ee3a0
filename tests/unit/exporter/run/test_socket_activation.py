"""Sockets that systemd made: they are served as they are, and what else is asked for then is refused."""

from __future__ import annotations

import configparser
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from swiotlb_exporter.run.service_manager import descriptors
from swiotlb_top.cli.export import LISTEN
from swiotlb_top.errors import Exit
from tests.support.prometheus import DEPLOYED
from tests.support.served import DEADLINE_S
from tests.unit.exporter.web.test_server import announced, get, program

ACTIVATE = """
import fcntl, os, sys
count = int(sys.argv[1])
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[2:2 + count]]
for number, descriptor in enumerate(high, 3):
    os.dup2(descriptor, number)
os.environ |= {"LISTEN_FDS": str(count), "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""
"""Runs a command as systemd does, with descriptors that begin at 3."""


@contextmanager
def activated(*sockets: socket.socket, options: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """The command, to which systemd passes sockets."""
    numbers = [one.fileno() for one in sockets]
    before = [sys.executable, "-c", ACTIVATE, str(len(numbers)), *map(str, numbers)]
    words = [*before, sys.executable, "-c", program(), *options]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=variables, pass_fds=numbers) as process:
        try:
            yield process
        finally:
            process.kill()


def test_every_socket_that_is_passed_is_served_and_no_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as another:
        urls = [f"http://127.0.0.1:{listener.getsockname()[1]}/metrics" for listener in (one, another)]
        with activated(one, another) as process:
            assert process.stderr is not None
            assert process.stderr.readline().decode().endswith(f" on {', '.join(urls)}\n")
            for url in urls:
                assert "swiotlb_up 1.0" in get(url)[2]
            process.terminate()
            assert process.wait(DEADLINE_S) == 0


def test_who_connected_before_it_was_there_is_answered() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), DEADLINE_S) as early,
    ):
        early.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with activated(listener) as process:
            announced(process)
            assert early.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"


def test_an_address_besides_is_a_usage_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        activated(listener, options=("--web.listen-address", "127.0.0.1:0")) as process,
    ):
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == Exit.USAGE
        assert b"systemd passes sockets to listen on, and --web.listen-address names others" in said


def test_what_is_no_listening_socket_ends_it_in_one_line() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, activated(ours) as process:
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == Exit.CANNOT
        assert said.decode() == (
            "swiotlb-top: systemd's file descriptor 3 does not listen; "
            "the socket unit needs ListenStream= and Accept=no\n"
        )


@pytest.mark.parametrize(
    ("environment", "passed"),
    [
        ({}, []),
        ({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "a:b"}, [3, 4]),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, []),
        ({"LISTEN_FDS": "2"}, []),
        ({"LISTEN_FDS": "many", "LISTEN_PID": str(os.getpid())}, []),
    ],
)
def test_what_is_passed_is_ours_only_if_it_says_so_and_nobodys_after(
    environment: dict[str, str], passed: list[int]
) -> None:
    assert [*descriptors(environment)] == passed
    assert environment == {}


def said_by(name: str, section: str) -> configparser.SectionProxy:
    """What a unit that is deployed says in a section."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(DEPLOYED / "systemd" / name)
    return unit[section]


def test_the_socket_unit_listens_where_the_exporter_would_and_its_service_takes_it() -> None:
    passed, served = said_by("swiotlb-exporter.socket", "Socket"), said_by("swiotlb-exporter.service", "Service")
    assert passed["ListenStream"] == LISTEN
    assert "Accept" not in passed
    assert "--web.listen-address" not in served["ExecStart"]
    for key in ("IPAddressDeny", "IPAddressAllow"):
        assert passed[key] == served[key]
