"""Where the exporter listens: addresses as they are written, and sockets that answer there."""

from __future__ import annotations

import http.client
import os
import socket
from functools import partial
from pathlib import Path

import pytest

from swiotlb_exporter.web.listeners import Address, Tcp, Vsock, address, adopted, listen, peer, url
from swiotlb_top.errors import CannotError, Exit, UsageError
from tests.support.served import DEADLINE_S, serving

ANY = (1 << 32) - 1
LOOPBACK_CID = 1
PORT = 9788


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("127.0.0.1:9788", Tcp("127.0.0.1", 9788)),
        ("[::1]:9788", Tcp("::1", 9788)),
        (":0", Tcp("", 0)),
        ("localhost:65535", Tcp("localhost", 65535)),
        ("vsock://:9788", Vsock(ANY, 9788)),
        ("vsock://3:9788", Vsock(3, 9788)),
        ("vsock://3:4294967294", Vsock(3, 4294967294)),
    ],
)
def test_addresses(text: str, where: Address) -> None:
    assert address(text) == where
    assert str(where) == text


@pytest.mark.parametrize("text", ["", "9788", "localhost", "::1:9788", "host:65536", "host:-1", "host:http", "host:٣"])
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"for example 127\.0\.0\.1:9788") as refusal:
        address(text)
    assert refusal.value.exit_code is Exit.USAGE


@pytest.mark.parametrize(
    "text",
    [
        "vsock://",
        "vsock://9788",
        "vsock://3:",
        "vsock://:4294967295",
        "vsock://4294967296:1",
        "vsock://-1:1",
        "vsock://::",
    ],
)
def test_what_is_no_address_of_vsock_is_one_too(text: str) -> None:
    with pytest.raises(UsageError, match="for example vsock://:9788"):
        address(text)


def test_a_port_in_use_says_what_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(CannotError, match=r"already in use; choose another with --web\.listen-address") as refusal:
            listen(Tcp("127.0.0.1", taken.getsockname()[1]))
        assert refusal.value.exit_code is Exit.CANNOT


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotError, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen(Tcp("192.0.2.1", 0))


@pytest.mark.parametrize("host", ["..", "x" * 64, "ü..x"])
def test_what_no_machine_is_called_is_refused_in_a_line(host: str) -> None:
    with pytest.raises(CannotError, match="this is no name of a machine; choose another"):
        listen(address(f"{host}:0"))


def test_an_address_of_a_link_is_listened_on_at_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    where = ("::1", 0, 0, 1)
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", where)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    asked = []
    monkeypatch.setattr(socket, "create_server", lambda address, **_: asked.append(address))
    listen(Tcp("fe80::1%lo", 0))
    assert asked == [where]


def ask(family: socket.AddressFamily, where: tuple[str, int] | tuple[int, int] | str) -> int:
    """The status of the health page at an address of any family."""
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(DEADLINE_S)
        client.connect(where)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return answer.status


@pytest.mark.parametrize("host", ["", "::"])
def test_no_host_is_every_address_of_both_kinds(host: str) -> None:
    if host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(listening=partial(listen, Tcp(host, 0))) as found:
        port = int(found.rpartition(":")[2])
        assert ask(socket.AF_INET, ("127.0.0.1", port)) == 200
        if found == f"http://[::]:{port}":
            assert ask(socket.AF_INET6, ("::1", port)) == 200
        else:
            assert not socket.has_dualstack_ipv6()


def test_a_socket_of_the_file_system_is_served_too(tmp_path: Path) -> None:
    path = str(tmp_path / "metrics")

    def listening() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(path)
        made.listen()
        return adopted(made.detach())

    with serving(listening=listening) as found:
        assert found == f"unix:{path}"
        assert ask(socket.AF_UNIX, path) == 200


def has_vsock() -> bool:
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def has_vsock_loopback() -> bool:
    """Whether this kernel connects to itself, which is a module of its own (vsock_loopback)."""
    if not has_vsock():
        return False
    with Vsock(ANY, ANY).bound() as there, socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect((LOOPBACK_CID, there.getsockname()[1]))
        except OSError:
            return False
        return True


needs_vsock = pytest.mark.skipif(not has_vsock(), reason="this kernel has no AF_VSOCK")


@needs_vsock
def test_a_port_of_vsock_is_listened_on_and_taken_from_then_on() -> None:
    with Vsock(ANY, ANY).bound() as any_port:
        port = any_port.getsockname()[1]
        assert url(any_port, "http") == f"vsock://:{port}"
        assert any_port.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        with pytest.raises(CannotError, match=rf"cannot listen on vsock://:{port}: Address already in use; choose"):
            listen(Vsock(ANY, port))


@needs_vsock
def test_an_identifier_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotError, match=r"cannot listen on vsock://77:9788: "):
        listen(Vsock(77, PORT))


@pytest.mark.skipif(not has_vsock_loopback(), reason="this kernel has no loopback of vsock (vsock_loopback)")
def test_over_vsock_the_pages_are_the_same() -> None:
    with serving(listening=Vsock(LOOPBACK_CID, ANY).bound) as found:
        port = int(found.rpartition(":")[2])
        assert ask(socket.AF_VSOCK, (LOOPBACK_CID, port)) == 200


def test_what_does_not_listen_is_not_taken_for_systemds_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(CannotError, match=r"does not listen; the socket unit needs .*Accept=no"):
        adopted(ours.fileno())
    reading, writing = os.pipe()
    with pytest.raises(CannotError, match=rf"file descriptor {reading} is no socket"):
        adopted(reading)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (("127.0.0.1", 5), "127.0.0.1:5"),
        (("fe80::1", 5, 0, 2), "[fe80::1]:5"),
        ((2, 5), "2:5"),
        ("", "this machine"),
    ],
)
def test_who_has_connected_as_the_log_says_it(name: object, shown: str) -> None:
    assert peer(name) == shown
