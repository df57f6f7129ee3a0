"""How it stood when a map failed, as the reference has it: what was asked, what was free, and who had the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias, TypeVar

from swiotlb_top.accounting.numbers import counted
from swiotlb_top.accounting.slots import SlotsView, slots_view
from swiotlb_top.allocator import Allocator, Cause, Explanation, Pool
from swiotlb_top.allocator.fitting import largest_fitting_bytes
from swiotlb_top.events import Call, Find, Map, Unmap
from swiotlb_top.verify import Failure, Listener, Moment

MOST_HOLDERS: Final = 5
KEPT: Final = 32
"""How many scenes of a stream are kept."""
EVERY_NS: Final = 1_000_000_000
"""Of failures that are alike, how it stood is looked at once in this time."""
_PATIENCE: Final = 1_000_000
"""Areas that may be asked for what would have fitted, for all scenes together,"""
_EARNED: Final = 10_000
"""and how many more may be asked for each further scene."""

_K = TypeVar("_K")
_V = TypeVar("_V")
Key: TypeAlias = tuple[int, int, int]
"""What a failed call is known by: when it was over, on which CPU, and whose it was."""


class PoolThen(NamedTuple):
    """A pool, as it was."""

    start: int
    kind: str
    """``default``, ``grown`` or ``transient``."""
    nslabs: int
    nareas: int
    used_slots: int
    longest_free_slots: int
    slots: SlotsView

    @property
    def sentence(self) -> str:
        areas = f" in {self.nareas} areas" if self.nareas > 1 else ""
        return (
            f"{self.kind} {self.start:#x}: {self.used_slots:,} of {counted(self.nslabs, 'slot')}{areas} in use, "
            f"longest free run {self.longest_free_slots}"
        )


class HolderThen(NamedTuple):
    """A device that had slots; ``dev`` is 0 for what was mapped before the recording."""

    dev: int
    held_slots: int
    mappings: int


@dataclass(frozen=True, slots=True)
class Scene:
    """How it stood when a map failed."""

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

    @property
    def smaller(self) -> str:
        """Which mapping would have fitted, for a driver and for a disk; empty where it is not room that was missing."""
        if not self.explanation.cause.is_of_room:
            return ""
        fitting_bytes = self.largest_fitting_bytes
        if fitting_bytes is None:
            return "which smaller mapping would have fitted was not computed: the pools have too many areas"
        if not fitting_bytes:
            return "not even a page would have fitted then"
        return (
            f"a mapping of {fitting_bytes} bytes would have fitted then, and none of a page more; of a disk, "
            f"max_sectors_kb={fitting_bytes >> 10} keeps every mapping within that"
        )


NO_SCENES: Final[Mapping[Key, Scene]] = {}


class Onlooker:
    """Looks how it stands when maps fail. It asks only so much of the model."""

    def __init__(self) -> None:
        self._patience = _PATIENCE

    def look(self, call: Call, explanation: Explanation, moment: Moment) -> Scene:
        """How it stands now that this call has failed."""
        model, cpu, request = moment
        padding_bytes = model.revision.padding_bytes(request.orig_addr, request.alloc_align_mask, request.limits)
        size_bytes = request.alloc_size_bytes - padding_bytes if isinstance(call, Find) else call.mapping_size_bytes
        fitting_bytes = self._largest_fitting_bytes(moment, size_bytes) if explanation.cause.is_of_room else None
        listed = [_pool_then(pool, default=pool is model.pools[-1]) for pool in model.pools]
        return Scene(
            call.exit_ns,
            cpu,
            size_bytes,
            explanation,
            sum(pool.nslabs - pool.used_slots for pool in listed),
            (*listed, *(_pool_then(pool, default=False) for pool in _transient(model))),
            tuple(_holders(model)),
            fitting_bytes,
        )


    def _largest_fitting_bytes(self, moment: Moment, size_bytes: int) -> int | None:
        fitting_bytes, left = largest_fitting_bytes(*moment, size_bytes, self._patience)
        self._patience = min(left + _EARNED, _PATIENCE)
        return fitting_bytes


class Scenes(Listener):
    """How it stood at the latest failures that a judge was told of: of those that are alike, now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._onlooker = Onlooker()
        self._looked_ns: dict[tuple[int, Cause, int], int] = {}
        self._kept: dict[Key, Scene] = {}

    def failed_at(self, failure: Failure, moment: Moment) -> None:
        call, why = failure.event, failure.explanation
        if not isinstance(call, Find | Map | Unmap):
            return
        alike = call.dev, why.cause, why.needed_slots
        if call.exit_ns - self._looked_ns.get(alike, -EVERY_NS) < EVERY_NS:
            return
        self._looked_ns.pop(alike, None)
        _keep(self._looked_ns, alike, call.exit_ns)
        _keep(self._kept, key_of(call), self._onlooker.look(call, why, moment))

    @property
    def kept(self) -> Mapping[Key, Scene]:
        """The scenes, by the call that failed."""
        return self._kept


def key_of(call: Call) -> Key:
    """What a call is known by."""
    return call.exit_ns, call.cpu, call.dev


def _keep(kept: dict[_K, _V], key: _K, value: _V) -> None:
    """Add it, and drop the oldest if there are too many."""
    kept[key] = value
    if len(kept) > KEPT:
        del kept[next(iter(kept))]


def _pool_then(pool: Pool, *, default: bool) -> PoolThen:
    kind = "transient" if pool.transient else "default" if default else "grown"
    slots = slots_view(pool)
    return PoolThen(pool.start, kind, pool.nslabs, pool.nareas, pool.used_slots, pool.longest_free_slots(), slots)


def _transient(model: Allocator) -> Iterator[Pool]:
    return (pool for pools in model.transient.values() for pool in pools)


def _holders(model: Allocator) -> Iterator[HolderThen]:
    slots: Counter[int] = Counter()
    mappings: Counter[int] = Counter()
    for pool in (*model.pools, *_transient(model)):
        for mapping in pool.mappings():
            slots[mapping.dev] += mapping.nslots
            mappings[mapping.dev] += 1
    for dev, held_slots in slots.most_common(MOST_HOLDERS):
        yield HolderThen(dev, held_slots, mappings[dev])
