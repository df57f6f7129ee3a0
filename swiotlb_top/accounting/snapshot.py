"""What a view is given: one immutable picture of swiotlb at one time.

Views (screen, exporter, reports) read nothing else. Totals count since the source began;
rates are for views to derive from two snapshots with :func:`per_second`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

UNKNOWN: Final = -1
"""A count that this source cannot know."""

VerdictWord: TypeAlias = Literal["agree", "disagree", "inconclusive"]


@dataclass(frozen=True, slots=True)
class PoolView:
    """One memory pool. ``longest_free_slots`` is -1 where slots are not watched."""

    address: int
    start: int
    nslabs: int
    nareas: int
    used_slots: int
    transient: bool
    default: bool
    longest_free_slots: int = -1


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device's totals: ``maps`` succeeded, ``map_failures`` did not. Bytes are of mapping sizes.

    ``causes`` counts failures the reference explained (a word of ``Cause`` -> failures), and may sum
    to less than ``map_failures``.
    """

    dev: int
    name: str
    driver: str
    maps: int
    map_failures: int
    unmaps: int
    mapped_bytes: int
    unmapped_bytes: int
    causes: tuple[tuple[str, int], ...] = ()
    last_failure: str = ""
    """One sentence about the latest failure, e.g. "needs 128 contiguous slots, longest free run 126"."""

    @property
    def held_maps(self) -> int:
        """Maps not yet unmapped; at least 0, since some unmaps are of maps older than the source."""
        return max(0, self.maps - self.unmaps)


@dataclass(frozen=True, slots=True)
class VerdictView:
    """What the reference says so far. ``compared`` = agree + disagree + inconclusive operations."""

    revision: str
    compared: int
    agree: int
    disagree: int
    inconclusive: int
    safety_violations: int
    first_disagreement: str = ""

    @property
    def word(self) -> VerdictWord:
        """The verdict in one word: "agree" only where something was compared and all of it agreed."""
        if self.disagree or self.safety_violations:
            return "disagree"
        return "agree" if self.agree and not self.inconclusive else "inconclusive"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a view shows. Slots are counts of 2 KiB; -1 (or None) means not known here."""

    time_ns: int
    source: str
    """"live", "debugfs" or "replay"."""
    reason: str
    """Why this source, in words for the header."""
    kernel_release: str
    nslabs: int
    used_slots: int
    used_hiwater_slots: int
    transient_slots: int
    maps: int
    map_failures: int
    unmaps: int
    growths: int
    pools_added: int
    lost: int
    pools: tuple[PoolView, ...] = ()
    devices: tuple[DeviceView, ...] = ()
    verdict: VerdictView | None = None
    notes: tuple[str, ...] = field(default=())
    """What is degraded and why, a line each."""


def per_second(now: int, before: int, elapsed_ns: int) -> float:
    """Rate of a total between two snapshots; 0.0 over no time, and never negative."""
    if elapsed_ns <= 0 or now < before:
        return 0.0
    return (now - before) * 1e9 / elapsed_ns
