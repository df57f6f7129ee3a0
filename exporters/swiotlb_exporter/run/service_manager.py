"""Tells systemd that the exporter is ready, alive, or ending (sd_notify(3)); without systemd, tells nobody."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


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
