"""One ring for several readers: where a flight recorder runs beside the live source, both use the same probes.

The probes do the most that any reader wants. A reader gets every record that comes while it wants records, and always
those that introduce a device, which is done once.
"""

from __future__ import annotations

import threading

from swiotlb_top.probes.read.program import Mode, Program
from swiotlb_top.records import Kind, of_kind, select


class Shared:
    """The ring of a program, and its readers, of which each may have a thread of its own."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lock = threading.Lock()
        self.shares: list[Share] = []

    def share(self, mode: Mode) -> Share:
        """Another reader. :param mode: what it wants; the probes do that already."""
        share = Share(self, mode)
        with self.lock:
            self.shares.append(share)
        return share


class Share:
    """What one reader wants of the probes, and the records that it has not taken yet."""

    def __init__(self, shared: Shared, mode: Mode) -> None:
        self._shared = shared
        self._mode = mode
        self._waiting: list[bytes] = []

    def set_mode(self, mode: Mode) -> None:
        """Set what this reader wants from now on."""
        shared = self._shared
        with shared.lock:
            self._mode = mode
            shared.program.set_mode(max(share._mode for share in shared.shares))

    def drain(self) -> bytes:
        """The records that came since the last call, packed. Also those from before it wanted none any more."""
        with self._shared.lock:
            return self._take(self._shared.program.ring.drain())

    def drain_what_is_there(self) -> tuple[bool, bytes]:
        """Whether all records are taken that were in the ring at the beginning; and the records."""
        with self._shared.lock:
            whole, records = self._shared.program.ring.drain_what_is_there()
            return whole, self._take(records)

    def _take(self, records: bytes) -> bytes:
        """Keep records out of the ring for the others, and take what was kept for this reader, and these."""
        introducing = select(records, of_kind(records, Kind.DEVICE)) if len(self._shared.shares) > 1 else b""
        for share in self._shared.shares:
            if of_share := records if share is self or share._mode is Mode.RECORD else introducing:
                share._waiting.append(of_share)
        taken, self._waiting = b"".join(self._waiting), []
        return taken
