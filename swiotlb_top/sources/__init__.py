"""Where snapshots come from: a live kernel, its debugfs counters, or a recording."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from swiotlb_top.accounting.snapshot import Snapshot


class Source(Protocol):
    """Gives an immutable snapshot each time it is asked. Only one thread may ask at a time."""

    def snapshot(self) -> Snapshot:
        """The state now, with totals since the source was opened.

        :raises SwiotlbTopError: the source cannot be read (it may be asked again).
        """
        ...

    def close(self) -> None:
        """Detach from the kernel, or close the file. :meth:`snapshot` must not be called afterwards."""
        ...


class PlayOrder(NamedTuple):
    """What to change while a recording is played."""

    seek_ns: int = 0
    """How far to move: forwards, or backwards if negative, but not before the beginning."""
    faster: float = 1.0
    """The factor by which the speed is multiplied."""
    stop_or_go: bool = False
    """Stop it if it plays, and let it play if it is stopped."""
    to_disagreement: int = 0
    """1: go to where the next disagreement is known, and stop there; -1: to the previous one."""
    passed_ns: int = 0
    """How much time has passed since the last order. A recording that plays moves on by that, times its speed."""


@runtime_checkable
class Player(Source, Protocol):
    """A source that plays a recording: its position in time can be changed."""

    def play(self, order: PlayOrder) -> None:
        """Change where, how fast and whether it plays, from the next snapshot on."""
        ...


@runtime_checkable
class FromFile(Protocol):
    """A source that may show a file."""

    @property
    def recording(self) -> Path | None:
        """The file; None if it shows a kernel that runs."""
        ...


def recording_of(source: Source) -> Path | None:
    """The file that a source shows; None if it shows none."""
    return source.recording if isinstance(source, FromFile) else None
