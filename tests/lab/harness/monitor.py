"""QEMU's monitor: what the host asks of a running machine (QMP, docs/interop/qmp-spec.txt of QEMU)."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

ANSWERS_WITHIN_S = 60.0


class Monitor:
    """One connection. What fails raises RuntimeError; OSError where the machine is gone."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWERS_WITHIN_S)
        self._file = connection.makefile("rw")
        self._line()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns for `command`."""
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while "event" in (answer := self._line()):
            pass
        if "return" not in answer:
            raise RuntimeError(f"QEMU's monitor: {command}: {answer['error']['desc']}")
        return answer["return"]

    def threads(self) -> list[int]:
        """The host's thread that is each CPU, by the CPU's number."""
        told = self.execute("query-cpus-fast")
        return [cpu["thread-id"] for cpu in sorted(told, key=lambda cpu: int(cpu["cpu-index"]))]

    def instruction_pointers(self) -> list[int]:
        """Where each CPU is, by the CPU's number. Only what a machine that is stopped says of it is true."""
        told = self.execute("human-monitor-command", **{"command-line": "info registers -a"})
        return [int(address, 16) for address in re.findall(r"\bRIP=([0-9a-f]+)", told)]

    def _line(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise ConnectionError("QEMU has closed its monitor")
        answer: dict[str, Any] = json.loads(line)
        return answer
