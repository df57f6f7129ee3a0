"""What the metrics are of: a source that is being opened, then is read once an interval, and may fail at any time."""

from __future__ import annotations

import time

from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import SwiotlbTopError
from swiotlb_top.sources.sampler import Sampler


class NotYetError(SwiotlbTopError):
    """The source is still being opened."""


class Watch:
    """The latest snapshot, for any thread at any time."""

    def __init__(self) -> None:
        self.sampler: Sampler | None = None
        """There from when the source is open."""
        self._beat = -1
        self._moved_s = time.monotonic()

    def snapshot(self) -> Snapshot:
        """The last one; :raises NotYetError: there is none yet; :raises SwiotlbTopError: the source failed since."""
        if self.sampler is None:
            raise NotYetError("the source is being opened")
        frame = self.sampler.frame
        if frame.failure:
            raise SwiotlbTopError(frame.failure)
        return frame.now

    def trouble(self) -> str:
        """Why there is no snapshot; empty where there is one."""
        try:
            self.snapshot()
        except Exception as error:
            return str(error) or type(error).__name__
        return ""

    def alive(self, patience_s: float) -> bool:
        """Whether the source answered, be it with a failure, within ``patience_s``."""
        try:
            beat = self.sampler.frame.sequence if self.sampler else -1
        except Exception:
            return False
        now_s = time.monotonic()
        if beat != self._beat:
            self._beat, self._moved_s = beat, now_s
        return now_s - self._moved_s <= patience_s
