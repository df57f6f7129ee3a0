"""What systemd is told: that the exporter is ready, alive, or ending (sd_notify(3)); without systemd, nobody is told.

And what it gives: sockets that listen already (sd_listen_fds(3)).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Final

_FIRST_DESCRIPTOR: Final = 3


class ServiceManager:
    """Speaks to the socket that ``NOTIFY_SOCKET`` names.

    :param environment: where that and ``WATCHDOG_USEC`` (for this process, says ``WATCHDOG_PID``) are looked up.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in Linux's abstract namespace, told by a NUL.
        self._address = "\0" + name[1:] if name.startswith("@") else name
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environment.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if mine and usec.isdecimal() and int(usec) else None
        """Within how many seconds it wants to hear of us; None: it does not watch."""

    def tell(self, *lines: str) -> None:
        """Send assignments as ``READY=1`` or ``STATUS=attaching``. One that is not heard is not missed."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            try:
                out.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return


def descriptors(environment: MutableMapping[str, str] = os.environ) -> range:
    """The file descriptors that systemd gave this process to listen on; none without a socket unit.

    :param environment: where ``LISTEN_FDS`` (for this process, says ``LISTEN_PID``) is looked up and taken away from:
        it is not meant for processes that this one starts.
    """
    mine = environment.pop("LISTEN_PID", "") == str(os.getpid())
    given = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    return range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + (int(given) if mine and given.isdecimal() else 0))
