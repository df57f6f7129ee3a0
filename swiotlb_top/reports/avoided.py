"""What would have avoided the failures of a recording: each configuration is asked about by the sizing's reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final

from swiotlb_top.allocator.differences import release_key
from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.sizing.configuration import Configuration
from swiotlb_top.sizing.demand import Demand
from swiotlb_top.sizing.recordings import read
from swiotlb_top.sizing.simulate import Patience
from swiotlb_top.sizing.sized import Asking, Question, Row, Sized, Standing, size

_MOST_AREAS: Final = 8192
_GROWS_SINCE: Final = (6, 6)
"""79636caad361 ("swiotlb: if swiotlb is full, fall back to a transient memory pool") and those before it."""


class Change(Enum):
    """What would have been otherwise."""

    SIZE = "size"
    AREAS = "areas"
    DYNAMIC = "dynamic"


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration that was asked about, for one device."""

    change: Change
    row: Row
    avoids: bool | None
    """Whether no need of the device fails in it; None where that is not known."""
    alone: bool
    """Whether only this device is spared: others' needs fail, or may."""


@dataclass(frozen=True)
class Avoided:
    """The configurations that were asked about."""

    sized: Sized | None
    areas: tuple[Row, ...] = ()
    """Of today's pool with other areas, from the fewest on."""
    dynamic: Row | None = None
    """Of today's pool in a kernel that adds pools; None where it does already, or is older than that."""
    because: str = ""
    """Why nothing was asked; empty where it was."""

    def trials(self, dev: int) -> Iterator[Trial]:
        """For one device: the smallest larger pool that avoids its failures, or the largest that does not; then the
        areas that avoid them, or else those of most areas; then growth."""
        if self.sized is None:
            return
        today = self.sized.today.configuration.nslabs
        of_device = partial(_trial, dev=dev, is_only_device=len(self.sized.devices) == 1)
        larger = [of_device(Change.SIZE, row) for row in self.sized.rows if row.configuration.nslabs > today]
        areas = [of_device(Change.AREAS, row) for row in self.areas]
        yield from _one_of(larger)
        yield from [trial for trial in areas if trial.avoids] or areas[-1:]
        if self.dynamic:
            yield of_device(Change.DYNAMIC, self.dynamic)


def avoided(path: Path, release: str) -> Avoided:
    """Ask about a recording's demand.

    :param release: of the kernel that was recorded.
    """
    try:
        demand = read(path)
    except (UnreadableError, CannotError) as error:
        return Avoided(None, because=str(error))
    sized = size(demand, Question())
    today = sized.today.configuration
    patience = Patience(demand.maps + demand.failures)
    dynamic = None
    if not today.dynamic and (release_key(release) or (0,)) >= _GROWS_SINCE:
        asking = Asking.about(demand, today.nareas, today.nslabs, patience=patience)
        dynamic = asking.row(Configuration.of(today.nslabs, today.nareas, True, demand.revision))
    return Avoided(sized, tuple(_with_other_areas(demand, today, patience)), dynamic)


def _with_other_areas(demand: Demand, today: Configuration, patience: Patience) -> Iterator[Row]:
    most = min(today.nslabs // IO_TLB_SEGSIZE, _MOST_AREAS)
    numbers = [1 << order for order in range(most.bit_length()) if 1 << order != today.nareas]
    if not numbers:
        return
    asking = Asking.about(demand, max(numbers), today.nslabs, patience=patience)
    for nareas in numbers:
        yield asking.row(Configuration.of(today.nslabs, nareas, today.dynamic, demand.revision))


def _one_of(trials: list[Trial]) -> Iterator[Trial]:
    yield from [next((trial for trial in trials if trial.avoids), trials[-1])] if trials else []


def _trial(change: Change, row: Row, dev: int, *, is_only_device: bool) -> Trial:
    if row.standing is Standing.HOLDS:
        return Trial(change, row, True, False)
    if row.outcome is None:  # some need fails for certain, and the bound does not say whose
        return Trial(change, row, False if is_only_device else None, False)
    if row.outcome.given_up:
        return Trial(change, row, None, False)
    if not row.outcome.failures_of[dev]:
        return Trial(change, row, True, True)
    return Trial(change, row, False if row.standing is Standing.FAILS else None, False)
