"""Where snapshots come from: a live kernel, its debugfs counters, or a recording."""

from __future__ import annotations

from typing import Protocol

from swiotlb_top.accounting.snapshot import Snapshot


class Source(Protocol):
    """Gives one immutable picture each time it is asked; one thread asks at a time."""

    def snapshot(self) -> Snapshot:
        """The state now, with totals since the source was opened.

        :raises SwiotlbTopError: the source cannot be read (it may be asked again).
        """
        ...

    def close(self) -> None:
        """Detach from the kernel or the file; no snapshot can be had after."""
        ...
