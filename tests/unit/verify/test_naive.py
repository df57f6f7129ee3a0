"""The judge and a naive one, which tries every interleaving of every step, say the same of small blocks of operations:
whether any explains them, and from where each area may be searched next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Allocator, Pool, Request
from swiotlb_top.events import Find, Unmap
from swiotlb_top.verify import Judge, Verdict
from swiotlb_top.verify.linearize.possible_indices import IndexAlternatives
from swiotlb_top.verify.linearize.strategy import linearize
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch
from tests.support.histories import DEV, LIMITS, POOL, SLOT_BYTES, START, device, found, machine, released, state_of

BLOCK_NS: Final = 1000
Called: TypeAlias = Find | Unmap
Indices: TypeAlias = tuple[int, ...]


@dataclass
class Block:
    """Overlapping calls on a pool: what it was before, and what was seen."""

    area_slots: int
    free: int
    """Slots of an area that are not in use for good."""
    live: list[tuple[int, int]]
    """slot, slots"""
    indices: Indices
    """Of each area."""
    events: list[Called]

    def pool(self) -> Pool:
        pool = Pool(POOL, START, self.area_slots * len(self.indices), len(self.indices))
        for area in range(pool.nareas):
            if self.area_slots > self.free:
                pool.take(area * self.area_slots + self.free, request_for(self.area_slots - self.free), DEV)
        for slot, nslots in self.live:
            pool.take(slot, request_for(nslots), DEV)
        pool.area_index = list(self.indices)
        return pool


def bytes_of(nslots: int) -> int:
    """Not whole pages, of which some might be padding that is not told of when they are released."""
    return nslots * SLOT_BYTES - 512


def request_for(nslots: int) -> Request:
    return Request(0x20_0000, bytes_of(nslots), 0, LIMITS)


def model_of(pool: Pool) -> Allocator:
    return Allocator(REVISIONS["6.10"], [pool], pool.nslabs, pool.nareas, can_grow=False, dynamic=True)


def cpus_of(event: Find, nareas: int) -> list[int]:
    """Where it may have begun; as many CPUs as areas."""
    return [event.cpu, *(cpu for cpu in range(nareas) if event.migrated and cpu != event.cpu)]


# ---- the naive one ----------------------------------------------------------


class _Step(NamedTuple):
    """How many areas a search that began on a CPU has asked in vain."""

    cpu: int
    done: int


_BEGUN: Final = _Step(-1, 0)
_OVER: Final = _Step(-1, -1)


def endings(block: Block, start: Indices) -> Iterator[Indices]:
    """``index`` of each area after each interleaving that explains a block."""
    pool = block.pool()
    pool.area_index = list(start)
    model = model_of(pool)
    return _interleaved(model, pool, block.events, [_BEGUN] * len(block.events), set())


def _interleaved(
    model: Allocator, pool: Pool, events: Sequence[Called], steps: list[_Step], been: set[object]
) -> Iterator[Indices]:
    """:param steps: how far each call has come.
    :param been: all there was before, to go on from each once.
    """
    everything = tuple(steps), tuple(pool.area_index), pool.mappings()
    if everything in been:
        return
    been.add(everything)
    left = [at for at, step in enumerate(steps) if step != _OVER]
    if not left:
        yield tuple(pool.area_index)
    for at in left:
        event = events[at]
        if any(events[other].exit_ns < event.entry_ns for other in left):
            continue
        for undo, further in (
            _search_steps(model, pool, event, steps[at]) if isinstance(event, Find) else _release_step(pool, event)
        ):
            yield from _interleaved(model, pool, events, [*steps[:at], further, *steps[at + 1 :]], been)
            undo()


def _search_steps(model: Allocator, pool: Pool, event: Find, step: _Step) -> Iterator[tuple[Callable[[], None], _Step]]:
    request = Request(0x20_0000, event.alloc_size_bytes, 0, LIMITS)
    for cpu in cpus_of(event, pool.nareas) if step == _BEGUN else [step.cpu]:
        areas = list(model.attempts(cpu))
        slot = pool.search(areas[step.done][1], request)
        over = step.done + 1 == len(areas)
        if slot < 0 and not (over and event.slot >= 0):
            yield lambda: None, _OVER if over else _Step(cpu, step.done + 1)
        elif slot >= 0 and slot == event.slot:
            taken = pool.take(slot, request, DEV)
            yield lambda taken=taken: pool.undo(taken), _OVER  # type: ignore[misc]


def _release_step(pool: Pool, event: Unmap) -> Iterator[tuple[Callable[[], None], _Step]]:
    mapping = pool.find_mapping(event.tlb_addr, 0)
    if mapping is not None and mapping.alloc_size_bytes == event.mapping_size_bytes:
        released = pool.release(mapping)
        yield lambda: pool.undo(released), _OVER


# ---- blocks -----------------------------------------------------------------


@st.composite
def blocks(draw: st.DrawFn, most: int) -> Block:
    """What could have been: calls in some true order, in times that contain it, and perhaps a lie."""
    nareas, free = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 4]))
    block = Block(draw(st.sampled_from([free, 128])), free, [], (0,) * nareas, [])
    size, long = (
        st.integers(1, min(free, 3)),
        st.integers(0, draw(st.sampled_from([5, 12, 40]))).map(lambda fives: 5 * fives),
    )
    at_once = draw(st.booleans())
    pool = block.pool()
    model = model_of(pool)
    for _ in range(draw(st.integers(0, 4))):
        place = model.find_slots(draw(st.integers(0, nareas - 1)), request_for(nslots := draw(size)))
        if place:
            place.pool.take(place.slot, request_for(nslots), DEV)
            block.live.append((place.slot, nslots))
    pool.area_index = [draw(st.integers(0, free - 1)) for _ in range(nareas)]
    block.indices = tuple(pool.area_index)
    for moment_ns in range(BLOCK_NS, BLOCK_NS + 10 * draw(st.integers(2, most)), 10):
        times = BLOCK_NS if at_once else moment_ns - draw(long), moment_ns + draw(long)
        live = [mapping for mapping in pool.mappings() if mapping.slot % block.area_slots < free]
        if draw(st.booleans()) and live:
            gone = draw(st.sampled_from(live))
            pool.release(gone)
            gone_bytes = gone.alloc_size_bytes
            block.events.append(released(*times, gone.slot)._replace(mapping_size_bytes=gone_bytes))
            continue
        cpu, nslots = draw(st.integers(0, nareas - 1)), draw(size)
        place = model.find_slots(cpu, request_for(nslots))
        if place:
            pool.take(place.slot, request_for(nslots), DEV)
        slot = place.slot if place else -1
        if draw(st.integers(0, 9)) == 0:
            slot = draw(st.integers(-1, free - nslots))
        moved = draw(st.integers(0, 4)) == 0
        told_cpu = draw(st.integers(0, nareas - 1)) if moved else cpu
        event = found(*times, slot, cpu=told_cpu)._replace(alloc_size_bytes=bytes_of(nslots), migrated=moved)
        block.events.append(event)
    block.events.sort(key=lambda event: event.exit_ns)
    return block


def operations(block: Block, pool: Pool) -> list[Operation]:
    return [
        SlotSearch(
            event,
            event.entry_ns,
            event.exit_ns,
            event.cpu,
            DEV,
            Request(0x20_0000, event.alloc_size_bytes, 0, LIMITS),
            pool if event.slot >= 0 else None,
            event.slot,
            other_cpus=tuple(cpus_of(event, pool.nareas)[1:]),
        )
        if isinstance(event, Find)
        else Release(event, event.entry_ns, event.exit_ns, DEV, pool, event.tlb_addr, 0, event.mapping_size_bytes)
        for event in block.events
    ]


@settings(max_examples=600, deadline=None)
@given(blocks(most=6), st.data())
def test_what_explains_a_block_and_what_it_may_leave_is_the_same(block: Block, data: st.DataObject) -> None:
    others = [data.draw(st.sets(st.integers(0, block.free - 1), max_size=2)) - {own} for own in block.indices]
    left = {
        ending
        for start in product(*({own, *other} for own, other in zip(block.indices, others, strict=True)))
        for ending in endings(block, start)
    }
    pool = block.pool()
    alternatives: IndexAlternatives = {
        (pool, area): dict.fromkeys(other, True) for area, other in enumerate(others) if other
    }
    outcome = linearize(model_of(pool), operations(block, pool), alternatives=alternatives)
    assert bool(outcome.order) == bool(left)
    assert not outcome.exhausted
    taken = {event.slot // block.area_slots for event in block.events if isinstance(event, Find) and event.slot >= 0}
    for area in range(pool.nareas) if left else ():
        untouched = {} if area in taken else alternatives.get((pool, area), {})
        indices = {pool.area_index[area], *outcome.alternatives.get((pool, area), untouched)}
        assert indices == {ending[area] for ending in left}


@settings(max_examples=600, deadline=None)
@given(blocks(most=7))
def test_the_verdict_on_a_block_is_the_same(block: Block) -> None:
    judge = Judge(REVISIONS["6.10"], cpus=range(len(block.indices)))
    judge.state(machine(state_of(block.pool())))
    judge.feed([device(), *block.events])
    findings = judge.finish()
    explained = any(True for _ in endings(block, block.indices))
    assert findings.verdict is (Verdict.AGREE if explained else Verdict.DISAGREE), findings.first
