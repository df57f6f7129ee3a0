"""Looks at the reference whenever a map fails, and keeps how it stood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from swiotlb_top.accounting.scene import HolderThen, Key, PoolThen, Scene, key_of
from swiotlb_top.accounting.slots import slots_views
from swiotlb_top.allocator import Allocator, Cause, Explanation, Pool
from swiotlb_top.allocator.fitting import largest_fitting_bytes
from swiotlb_top.constants import SLOT_SET_SHIFT
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

_EFFORT: Final = 2_000_000
"""How many mappings and slot sets may be copied for the scenes of a stream before more is earned,"""
_EARNED_A_FAILURE: Final = 200
"""which is so many for each failed map."""

_K = TypeVar("_K")
_V = TypeVar("_V")


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
        pools = _pools_then(model)
        return Scene(
            call.exit_ns,
            cpu,
            size_bytes,
            explanation,
            sum(pool.nslabs - pool.used_slots for pool in pools[: len(model.pools)]),
            pools,
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
        self._effort = _EFFORT
        self._looked_ns: dict[tuple[int, Cause, int], int] = {}
        self._kept: dict[Key, Scene] = {}

    def failed_at(self, failure: Failure, moment: Moment) -> None:
        call, why = failure.event, failure.explanation
        if not isinstance(call, Find | Map | Unmap):
            return
        self._effort = min(self._effort + _EARNED_A_FAILURE, _EFFORT)
        alike = call.dev, why.cause, why.needed_slots
        if call.exit_ns - self._looked_ns.get(alike, -EVERY_NS) < EVERY_NS:
            return
        effort = sum(_effort(pool) for pool in (*moment.model.pools, *_transient(moment.model)))
        if effort > self._effort:
            return
        self._effort -= effort
        self._looked_ns.pop(alike, None)
        _keep(self._looked_ns, alike, call.exit_ns)
        _keep(self._kept, key_of(call), self._onlooker.look(call, why, moment))

    @property
    def kept(self) -> Mapping[Key, Scene]:
        """The scenes, by the call that failed."""
        return self._kept


def _keep(kept: dict[_K, _V], key: _K, value: _V) -> None:
    """Add it, and drop the oldest if there are too many."""
    kept[key] = value
    if len(kept) > KEPT:
        del kept[next(iter(kept))]


def _pools_then(model: Allocator) -> tuple[PoolThen, ...]:
    """Those that are searched, in that order, then the transient ones."""
    pools = [*model.pools, *_transient(model)]
    # A recording that cannot be believed may have none.
    default = model.pools[-1] if model.pools else None
    return tuple(
        PoolThen(
            pool.start,
            "transient" if pool.transient else "default" if pool is default else "grown",
            pool.nslabs,
            pool.nareas,
            pool.used_slots,
            pool.longest_free_slots(),
            slots,
        )
        for pool, slots in zip(pools, slots_views(pools), strict=True)
    )


def _effort(pool: Pool) -> int:
    """What it takes to copy a pool, at most: no mapping has less than a slot."""
    return 1 + (pool.nslabs >> SLOT_SET_SHIFT) + pool.used_slots


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
