"""Which source to look through, and why that one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Final

from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import CannotError, SwiotlbTopError
from swiotlb_top.sources import Player, PlayOrder, Source

Opener = Callable[[], Source]


class ExplainedSource:
    """A source whose snapshots say first why no better one could be had."""

    def __init__(self, source: Source, refusals: Sequence[str]) -> None:
        self._source = source
        self._refusals = "; ".join(refusals)

    def snapshot(self) -> Snapshot:
        snapshot = self._source.snapshot()
        return replace(snapshot, reason=f"{self._refusals}; so: {snapshot.reason}")

    def close(self) -> None:
        self._source.close()

    def play(self, order: PlayOrder) -> None:
        """For the recording that is shown where nothing better can be."""
        if isinstance(self._source, Player):
            self._source.play(order)


def open_live() -> Source:
    """The probes; :raises CannotError: no privilege, no probes on this kernel, or swiotlb is off."""
    from swiotlb_top.sources.live import open_live as attach

    return attach()


def open_debugfs() -> Source:
    """The counters in debugfs; :raises CannotError: where there are none."""
    from swiotlb_top.sources.debugfs import DebugfsSource

    return DebugfsSource()


def open_trace(path: Path, speed: float = 1.0, start_s: float = 0.0) -> Source:
    """A recording, over and over, first from ``start_s`` on; :raises UnreadableError: where it is none."""
    from swiotlb_top.sources.replay import ReplaySource

    source = ReplaySource(path, speed=speed)
    source.play(PlayOrder(seek_ns=int(start_s * 1e9)))
    return source


def open_bundled() -> Source:
    """The recording that is installed with the tool; :raises CannotError: where there is none."""
    directory = Path(str(resources.files("swiotlb_top") / "recordings"))
    bundled = sorted(directory.glob("*.swtrace"))
    if not bundled:
        raise CannotError("none is installed")
    return open_trace(bundled[0])


KERNEL_SOURCES: Final[dict[str, Opener]] = {"live": open_live, "debugfs": open_debugfs}
"""Sources that look at this machine, best first."""

ALL_SOURCES: Final[dict[str, Opener]] = {**KERNEL_SOURCES, "recording": open_bundled}
"""The same, and after them what there is to see on any machine."""


def first_that_opens(openers: dict[str, Opener]) -> Source:
    """Open the first source that can be, its reason preceded by why those before it cannot.

    :raises CannotError: none opens; the line gathers every reason.
    """
    refusals: list[str] = []
    for name, opener in openers.items():
        try:
            source = opener()
        except SwiotlbTopError as refusal:
            refusals.append(f"{name}: {refusal}")
        else:
            return ExplainedSource(source, refusals) if refusals else source
    raise CannotError("; ".join(refusals))
