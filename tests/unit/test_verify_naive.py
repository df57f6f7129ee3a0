"""The judge and a naive one, which tries every interleaving of every step, say the same of small blocks of operations:
whether any explains them, and from where each area may be searched next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Allocator, Pool, Request
from swiotlb_top.events import Find, Unmap
from swiotlb_top.verify import Judge, Verdict
from swiotlb_top.verify.operations import Operation, Release, Take
from swiotlb_top.verify.ordering import arrange
from swiotlb_top.verify.uncertain import Uncertain
from tests.unit.histories import DEV, LIMITS, POOL, SLOT_BYTES, START, device, found, machine, released, state_of

FREE: Final = 4
"""Slots of an area that are not in use for good."""
BLOCK_NS: Final = 1000
Called: TypeAlias = Find | Unmap
Indices: TypeAlias = tuple[int, ...]


@dataclass
class Block:
    """Overlapping calls on a pool: what it was before, and what was seen."""

    area_slots: int
    live: list[tuple[int, int]]
    """slot, slots"""
    indices: Indices
    """Of each area."""
    events: list[Called]

    def pool(self) -> Pool:
        pool = Pool(POOL, START, self.area_slots * len(self.indices), len(self.indices))
        for area in range(pool.nareas):
            if self.area_slots > FREE:
                pool.take(area * self.area_slots + FREE, request_for(self.area_slots - FREE), DEV)
        for slot, nslots in self.live:
            pool.take(slot, request_for(nslots), DEV)
        pool.area_index = list(self.indices)
        return pool


def bytes_of(nslots: int) -> int:
    """Not whole pages, of which some might be padding that is not told of when they are released."""
    return nslots * SLOT_BYTES - 512


def request_for(nslots: int) -> Request:
    return Request(0x20_0000, bytes_of(nslots), 0, LIMITS)


def world_of(pool: Pool) -> Allocator:
    return Allocator(REVISIONS["6.10"], [pool], pool.nslabs, pool.nareas, can_grow=False, dynamic=True)


def areas_asked(world: Allocator, event: Find) -> list[tuple[Pool, int]]:
    return list(world.attempts(event.cpu))


# ---- the naive one ----------------------------------------------------------


def endings(block: Block, start: Indices) -> Iterator[Indices]:
    """``index`` of each area after each interleaving that explains a block."""
    pool = block.pool()
    pool.area_index = list(start)
    world = world_of(pool)
    return _interleaved(world, pool, block.events, [0] * len(block.events))


def _interleaved(world: Allocator, pool: Pool, events: Sequence[Called], steps: list[int]) -> Iterator[Indices]:
    """:param steps: how many steps of each call are done; -1 where it is over."""
    left = [at for at, done in enumerate(steps) if done >= 0]
    if not left:
        yield tuple(pool.area_index)
    for at in left:
        event = events[at]
        if any(events[other].exit_ns < event.entry_ns for other in left):
            continue
        if isinstance(event, Find):
            undo, further = _search_step(world, pool, event, steps[at])
        else:
            undo, further = _release_step(pool, event), -1
        if undo is not None:
            yield from _interleaved(world, pool, events, [*steps[:at], further, *steps[at + 1 :]])
            undo()


def _search_step(world: Allocator, pool: Pool, event: Find, done: int) -> tuple[Callable[[], None] | None, int]:
    areas = areas_asked(world, event)
    request = Request(0x20_0000, event.alloc_size_bytes, 0, LIMITS)
    slot = pool.search(areas[done][1], request)
    if slot < 0:
        over = done + 1 == len(areas)
        return (None, 0) if over and event.slot >= 0 else (lambda: None, -1 if over else done + 1)
    if slot != event.slot:
        return None, 0
    undo = pool.take(slot, request, DEV)
    return lambda: pool.undo(undo), -1


def _release_step(pool: Pool, event: Unmap) -> Callable[[], None] | None:
    mapping = pool.find_mapping(event.tlb_addr, 0)
    if mapping is None or mapping.alloc_size_bytes != event.mapping_size_bytes:
        return None
    undo = pool.release(mapping)
    return lambda: pool.undo(undo)


# ---- blocks -----------------------------------------------------------------


@st.composite
def blocks(draw: st.DrawFn, most: int) -> Block:
    """What could have been: calls in some true order, in times that contain it, and perhaps a lie."""
    nareas = draw(st.sampled_from([1, 2, 3]))
    block = Block(draw(st.sampled_from([FREE, 128])), [], (0,) * nareas, [])
    pool = block.pool()
    world = world_of(pool)
    for _ in range(draw(st.integers(0, 4))):
        place = world.find_slots(draw(st.integers(0, nareas - 1)), request_for(nslots := draw(st.integers(1, 3))))
        if place:
            place.pool.take(place.slot, request_for(nslots), DEV)
            block.live.append((place.slot, nslots))
    pool.area_index = [draw(st.integers(0, FREE - 1)) for _ in range(nareas)]
    block.indices = tuple(pool.area_index)
    for moment_ns in range(BLOCK_NS, BLOCK_NS + 10 * draw(st.integers(2, most)), 10):
        times = moment_ns - draw(st.integers(0, 25)), moment_ns + draw(st.integers(0, 25))
        live = [mapping for mapping in pool.mappings() if mapping.nslots <= FREE]
        if draw(st.booleans()) and live:
            gone = draw(st.sampled_from(live))
            pool.release(gone)
            gone_bytes = gone.alloc_size_bytes
            block.events.append(released(*times, gone.slot)._replace(mapping_size_bytes=gone_bytes))
            continue
        cpu, nslots = draw(st.integers(0, nareas - 1)), draw(st.integers(1, 3))
        place = world.find_slots(cpu, request_for(nslots))
        if place:
            pool.take(place.slot, request_for(nslots), DEV)
        slot = place.slot if place else -1
        if draw(st.integers(0, 9)) == 0:
            slot = draw(st.integers(-1, FREE - nslots))
        block.events.append(found(*times, slot, cpu=cpu)._replace(alloc_size_bytes=bytes_of(nslots)))
    block.events.sort(key=lambda event: event.exit_ns)
    return block


def operations(block: Block, pool: Pool) -> list[Operation]:
    return [
        Take(
            event,
            event.entry_ns,
            event.exit_ns,
            event.cpu,
            DEV,
            Request(0x20_0000, event.alloc_size_bytes, 0, LIMITS),
            pool if event.slot >= 0 else None,
            event.slot,
        )
        if isinstance(event, Find)
        else Release(event, event.entry_ns, event.exit_ns, DEV, pool, event.tlb_addr, 0, event.mapping_size_bytes)
        for event in block.events
    ]


@settings(max_examples=300, deadline=None)
@given(blocks(most=6), st.data())
def test_what_explains_a_block_and_what_it_may_leave_is_the_same(block: Block, data: st.DataObject) -> None:
    others = [data.draw(st.sets(st.integers(0, FREE - 1), max_size=2)) - {own} for own in block.indices]
    left = {
        ending
        for start in product(*({own, *other} for own, other in zip(block.indices, others, strict=True)))
        for ending in endings(block, start)
    }
    pool = block.pool()
    uncertain: Uncertain = {(pool, area): dict.fromkeys(other, True) for area, other in enumerate(others) if other}
    outcome = arrange(world_of(pool), operations(block, pool), uncertain=uncertain)
    assert bool(outcome.order) == bool(left)
    assert not outcome.exhausted
    taken = {event.slot // block.area_slots for event in block.events if isinstance(event, Find) and event.slot >= 0}
    for area in range(pool.nareas) if left else ():
        untouched = {} if area in taken else uncertain.get((pool, area), {})
        indices = {pool.area_index[area], *outcome.uncertain.get((pool, area), untouched)}
        assert indices == {ending[area] for ending in left}


@settings(max_examples=300, deadline=None)
@given(blocks(most=7))
def test_the_verdict_on_a_block_is_the_same(block: Block) -> None:
    judge = Judge(REVISIONS["6.10"])
    judge.state(machine(state_of(block.pool())))
    judge.feed([device(), *block.events])
    findings = judge.finish()
    explained = any(True for _ in endings(block, block.indices))
    assert findings.verdict is (Verdict.AGREE if explained else Verdict.DISAGREE), findings.first
