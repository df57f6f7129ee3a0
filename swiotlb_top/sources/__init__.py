"""Where snapshots come from: a live kernel, its debugfs counters, or a recording."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

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


class PlayOrder(NamedTuple):
    """What to change about the playing of a recording."""

    seek_ns: int = 0
    """Forwards, or back where negative; not before the beginning."""
    faster: float = 1.0
    """Factor of the speed."""
    stop_or_go: bool = False
    passed_ns: int = 0
    """So much time has passed for who looks on. A recording that is not stopped moves on, at its speed."""


@runtime_checkable
class Player(Source, Protocol):
    """A source whose time can be moved about in."""

    def play(self, order: PlayOrder) -> None:
        """Change where, how fast and whether it plays, from the next snapshot on."""
        ...
