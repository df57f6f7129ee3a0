"""The maps that failed in a recording, by device and cause, and how it stood when the first of each kind did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from swiotlb_top.allocator import Allocator, Cause, Explanation, Pool, TooManyAreasError
from swiotlb_top.constants import PAGE_SIZE
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Find, Map, Unmap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.stream import tell
from swiotlb_top.trace import whole
from swiotlb_top.verify import Failure, Listener, Moment

MOST_KINDS: Final = 64
"""Of how many kinds it is kept how it stood: of more, only how often a map failed."""
MOST_HOLDERS: Final = 5
_PATIENCE: Final = 1_000_000
"""Areas that may be asked for what would have fitted, for all kinds together."""


class Kind(NamedTuple):
    """Maps that failed alike."""

    dev: int
    cause: Cause


class PoolThen(NamedTuple):
    """A pool, as it was."""

    start: int
    kind: str
    """``default``, ``grown`` or ``transient``."""
    nslabs: int
    nareas: int
    used_slots: int
    longest_free_slots: int


class HolderThen(NamedTuple):
    """A device that had slots; ``dev`` is 0 for what was mapped before the recording."""

    dev: int
    held_slots: int
    mappings: int


@dataclass(frozen=True, slots=True)
class First:
    """How it stood when the first map of a kind failed, as the reference has it."""

    time_ns: int
    cpu: int
    size_bytes: int
    """What was to be mapped, without padding."""
    explanation: Explanation
    free_slots: int
    """In all pools that are searched."""
    pools: tuple[PoolThen, ...]
    """In the order of the search, then the transient ones."""
    holders: tuple[HolderThen, ...]
    """Those that held most, the first of them most."""
    largest_fitting_bytes: int | None
    """The largest mapping of whole pages for which there was room then; 0: not even for a page. None: not known."""


@dataclass(frozen=True)
class Refused:
    """What failed in a recording."""

    pipeline: Pipeline
    counts: Counter[Kind]
    firsts: dict[Kind, First]
    damage: str
    """Why it could not be read to its end."""

    @property
    def succeeded(self) -> int:
        """Maps that did not fail. What was given back at once is counted as a map, too."""
        given_back = sum(count for kind, count in self.counts.items() if kind.cause is Cause.UNREACHABLE)
        return self.pipeline.account.maps - given_back

    @property
    def unexplained(self) -> int:
        """Failed maps of which the reference says nothing."""
        return self.pipeline.account.map_failures - self.counts.total()


def refused(path: Path) -> Refused:
    """Judge a recording, and keep how it stood at the first failure of each kind.

    :raises UnreadableError: the file is no recording.
    :raises UsageError: it is partial.
    :raises CannotError: no revision is known for its kernel.
    """
    trace = whole(path)
    pipeline = Pipeline(trace.header.kernel)
    pipeline.judge.listen(_Noting)
    damage = ""
    try:
        for item in trace.stream():
            tell(item, pipeline)
            pipeline.keep_up()
    except UnreadableError as error:
        damage = str(error)
    pipeline.finish(whole=False)
    noted = pipeline.judge.listener
    if not pipeline.judge.left or not isinstance(noted, _Noting):  # of an unknown kernel nothing is claimed
        noted = _Noting()
    return Refused(pipeline, noted.counts, noted.firsts, damage)


class _Noting(Listener):
    """What one judge says of failed maps."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.firsts: dict[Kind, First] = {}
        self._patience = _PATIENCE

    def failed_at(self, failure: Failure, moment: Moment) -> None:
        kind = Kind(failure.dev, failure.explanation.cause)
        self.counts[kind] += 1
        event = failure.event
        if kind in self.firsts or len(self.firsts) == MOST_KINDS or not isinstance(event, Find | Map | Unmap):
            return
        model, request = moment.model, moment.request
        padding_bytes = model.revision.padding_bytes(request.orig_addr, request.alloc_align_mask, request.limits)
        size_bytes = request.alloc_size_bytes - padding_bytes if isinstance(event, Find) else event.mapping_size_bytes
        listed = [_pool_then(pool, default=pool is model.pools[-1]) for pool in model.pools]
        transient = [_pool_then(pool, default=False) for pools in model.transient.values() for pool in pools]
        self.firsts[kind] = First(
            event.exit_ns,
            moment.cpu,
            size_bytes,
            failure.explanation,
            sum(pool.nslabs - pool.used_slots for pool in listed),
            (*listed, *transient),
            tuple(_holders(model)),
            self._largest_fitting_bytes(moment, size_bytes) if kind.cause.is_of_room else None,
        )

    def _largest_fitting_bytes(self, moment: Moment, size_bytes: int) -> int | None:
        """From the largest down, as a smaller one need not fit where a larger does: 6.1 may search an area without end
        for what it has enough free slots for, and passes it by for one slot more. What is asked here must not use up
        the patience with which the recording is judged."""
        model, (orig_addr, _, alloc_align_mask, limits) = moment.model, moment.request
        areas = sum(pool.nareas for pool in model.pools)
        kept, model.patience = model.patience, self._patience
        try:
            for pages in range(min((size_bytes - 1) // PAGE_SIZE, _MOST_PAGES), 0, -1):
                model.spend(areas)
                request = model.revision.request(pages * PAGE_SIZE, orig_addr, alloc_align_mask, limits)
                if model.find_slots(moment.cpu, request):
                    return pages * PAGE_SIZE
            return 0
        except TooManyAreasError:
            return None
        finally:
            self._patience, model.patience = max(model.patience, 0), kept


_MOST_PAGES: Final = 64
"""No mapping has more: 256 KiB."""


def _pool_then(pool: Pool, *, default: bool) -> PoolThen:
    kind = "transient" if pool.transient else "default" if default else "grown"
    return PoolThen(pool.start, kind, pool.nslabs, pool.nareas, pool.used_slots, pool.longest_free_slots())


def _holders(model: Allocator) -> Iterator[HolderThen]:
    slots: Counter[int] = Counter()
    mappings: Counter[int] = Counter()
    for pool in (*model.pools, *(pool for pools in model.transient.values() for pool in pools)):
        for mapping in pool.mappings():
            slots[mapping.dev] += mapping.nslots
            mappings[mapping.dev] += 1
    for dev, held_slots in slots.most_common(MOST_HOLDERS):
        yield HolderThen(dev, held_slots, mappings[dev])
