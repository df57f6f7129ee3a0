"""Where the exporter listens: TCP, vsock between a virtual machine and its host, and sockets that systemd made."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from swiotlb_top.errors import CannotError, UsageError

_BACKLOG: Final = 128
_EVERYWHERE: Final = ("", "::")
_PORT_MAX: Final = 65_535
_VSOCK: Final = "vsock://"
_VSOCK_MAX: Final = (1 << 32) - 1
"""Of context identifiers and of ports; as either it means: any."""
_OPTION: Final = "--web.listen-address"


@dataclass(frozen=True, slots=True)
class Tcp:
    """A host ("" and "::": every address of this machine, IPv4 and IPv6) and a port (0: a free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def bound(self) -> socket.socket:
        """:raises OSError: the address is taken, not allowed, or not one of this machine's."""
        if self.host in _EVERYWHERE and socket.has_dualstack_ipv6():
            everywhere = ("::", self.port)
            return socket.create_server(everywhere, family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        family, _, _, _, address = socket.getaddrinfo(
            self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # All of it: an address of a link needs its interface, as [fe80::1%eth0].
        return socket.create_server(address, family=family, backlog=_BACKLOG)


@dataclass(frozen=True, slots=True)
class Vsock:
    """A context identifier of this machine, which for :data:`_VSOCK_MAX` is any it has, and a port."""

    cid: int
    port: int

    def __str__(self) -> str:
        return f"{_VSOCK}{'' if self.cid == _VSOCK_MAX else self.cid}:{self.port}"

    def bound(self) -> socket.socket:
        """:raises OSError: this kernel has no vsock, the port is taken, or the identifier is not this machine's."""
        made = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        try:
            made.bind((self.cid, self.port))
            made.listen(_BACKLOG)
        except BaseException:
            made.close()
            raise
        return made


Address = Tcp | Vsock


def address(said: str) -> Address:
    """HOST:PORT, [HOST]:PORT for IPv6, :PORT, or for vsock vsock://CID:PORT or vsock://:PORT.

    :raises UsageError: anything else.
    """
    host, colon, port = said.removeprefix(_VSOCK).rpartition(":")
    if said.startswith(_VSOCK):
        cid_number, port_number = _number(host or str(_VSOCK_MAX), _VSOCK_MAX), _number(port, _VSOCK_MAX - 1)
        if not colon or cid_number is None or port_number is None:
            raise UsageError(f"{said!r} is no {_VSOCK}CID:PORT to listen on; for example {_VSOCK}:9788")
        return Vsock(cid_number, port_number)
    bracketed = host.startswith("[") and host.endswith("]")
    number = _number(port, _PORT_MAX)
    if not colon or (":" in host and not bracketed) or number is None:
        raise UsageError(f"{said!r} is no HOST:PORT to listen on; for example 127.0.0.1:9788 or [::1]:9788")
    return Tcp(host[1:-1] if bracketed else host, number)


def listen(where: Address) -> socket.socket:
    """A socket that listens.

    :raises CannotError: the address is taken, not allowed, or not one of this machine's.
    """
    try:
        return where.bound()
    except OSError as error:
        # Python's own words have the address once more.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    except UnicodeError:
        why = "this is no name of a machine"
    raise CannotError(f"cannot listen on {where}: {why}", f"choose another with {_OPTION}")


def adopted(descriptor: int) -> socket.socket:
    """The listening socket that systemd made.

    :raises CannotError: it is none.
    """
    try:
        made = socket.socket(fileno=descriptor)
    except OSError as error:
        raise CannotError(f"systemd's file descriptor {descriptor} is no socket: {error.strerror or error}") from error
    if made.type != socket.SOCK_STREAM or not made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        made.detach()
        raise CannotError(
            f"systemd's file descriptor {descriptor} does not listen",
            "the socket unit needs ListenStream= and Accept=no",
        )
    made.set_inheritable(False)
    return made


def url(listener: socket.socket, scheme: str) -> str:
    """Where it answers, without a page."""
    return _SHOWN.get(listener.family, _unknown)(listener.getsockname(), scheme)


def peer(name: Any) -> str:
    """Who has connected, for the log."""
    if isinstance(name, tuple) and len(name) > 1:
        return f"{f'[{name[0]}]' if ':' in str(name[0]) else name[0]}:{name[1]}"
    return "this machine"


def _tcp(name: Any, scheme: str) -> str:
    return f"{scheme}://{Tcp(*name[:2])}"


def _vsock(name: Any, scheme: str) -> str:
    return str(Vsock(*name))


def _unix(name: Any, scheme: str) -> str:
    return f"unix:{name if isinstance(name, str) else name.decode(errors='replace')}"


def _unknown(name: Any, scheme: str) -> str:
    return str(name)


_SHOWN: Final[dict[int, Callable[[Any, str], str]]] = {
    socket.AF_INET: _tcp,
    socket.AF_INET6: _tcp,
    socket.AF_VSOCK: _vsock,
    socket.AF_UNIX: _unix,
}


def _number(said: str, most: int) -> int | None:
    numeric = said.isascii() and said.isdigit() and len(said) <= len(str(most))
    return int(said) if numeric and int(said) <= most else None
