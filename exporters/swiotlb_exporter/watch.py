"""The source of the metrics: it is being opened, cannot be opened, or is read once an interval."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from swiotlb_exporter.findings import Recent
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import CannotError, SwiotlbTopError
from swiotlb_top.kernel.no_pool import NoPoolError
from swiotlb_top.sources.sampler import Sampler


class NotYetError(SwiotlbTopError):
    """The source is still being opened."""


@dataclass(frozen=True, slots=True)
class Blindness:
    """Why there is no snapshot."""

    reason: str
    """One sentence, the same on every machine in the same state: a label can hold it."""
    whole: str
    """The same, and what to do about it where that is known."""
    off: bool
    """Whether the reason is that swiotlb has no memory: then it is known that there is nothing to see."""

    @classmethod
    def by(cls, error: Exception) -> Self:
        """The blindness that an exception of :meth:`Watch.snapshot` means."""
        reason = error.because if isinstance(error, CannotError) else str(error)
        whole = " ".join(str(error).split()) or type(error).__name__
        return cls(" ".join(reason.split()) or whole, whole, isinstance(error, NoPoolError))


class Watch:
    """The latest snapshot, or why there is none; for any thread at any time.

    :param patience_s: how long after its last answer a source counts as stuck.
    """

    def __init__(self, patience_s: float) -> None:
        self._sampler: Sampler | None = None
        self._began = datetime.now(UTC)
        self.refusal: SwiotlbTopError | None = None
        """Why the source could not be opened when that was last tried."""
        self.recent = Recent()
        """Is told every frame of it."""
        self._patience_s = patience_s
        self._beat = -1
        self._moved_s = time.monotonic()

    def begin(self, sampler: Sampler) -> None:
        """The source is open."""
        self._began, self._sampler = datetime.now(UTC), sampler

    def snapshot(self) -> Snapshot:
        """The latest snapshot.

        :raises NotYetError: the source is being opened for the first time.
        :raises SwiotlbTopError: the source could not be opened, or failed since.
        """
        if self._sampler is None:
            raise self.refusal or NotYetError("the source is being opened")
        frame = self._sampler.frame
        if frame.failure:
            raise SwiotlbTopError(frame.failure)
        return frame.now

    def blindness(self) -> Blindness | None:
        """Why there is no snapshot; None where there is one."""
        try:
            self.snapshot()
        except Exception as error:
            return Blindness.by(error)
        return None

    def health(self) -> str:
        """``ok``: swiotlb is watched; ``off``: there is none to watch; ``blind``: nobody can tell."""
        blind = self.blindness()
        if blind is None:
            return "ok"
        return "off" if blind.off else "blind"

    def about(self) -> Sequence[tuple[str, str]]:
        """What is being watched, by what, judged as what and since when; or why nothing is."""
        try:
            now = self.snapshot()
        except Exception as error:
            return (("Not watched", Blindness.by(error).whole),)
        return (
            ("Kernel", now.kernel_release),
            ("Source", f"{now.source}: {now.reason}"),
            ("Reference", now.verdict.revision if now.verdict else "none: this source tells nothing to judge"),
            ("Watched since", f"{self._began:%Y-%m-%d %H:%M:%S} UTC"),
        )

    def alive(self) -> bool:
        """Whether a source that is open has answered of late, be it with a failure; true while there is none."""
        if self._sampler is None:
            return True
        try:
            beat = self._sampler.frame.sequence
        except Exception:
            return False
        now_s = time.monotonic()
        if beat != self._beat:
            self._beat, self._moved_s = beat, now_s
        return now_s - self._moved_s <= self._patience_s
