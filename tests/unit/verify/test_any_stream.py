"""Everything at once: growth, pools for one mapping, torn copies, entries nobody saw, lost events, devices that never
introduce themselves. The judge sees of a right kernel what there is to be seen, and never cries wolf; and once all is
known again it finds what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeAlias

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS
from swiotlb_top.events import ENTRY_UNKNOWN, Event, Find, Gap, Grow, PoolAlloc, Unmap
from swiotlb_top.state import MemState
from swiotlb_top.verify import Findings, Judge
from swiotlb_top.verify.operations.intervals import ASSUMED_DURATION_NS
from tests.support.histories import DEV, device, found, machine
from tests.support.small_kernel import ALIGN_MASK, GROWN_NSLABS, NSLABS, PADDED, Kernel

STEP_NS: Final = ASSUMED_DURATION_NS // 4
"""An operation takes up to four: one that is not seen to begin began no earlier than is supposed."""
STEPS: Final = 30
PAUSE_STEPS: Final = 10
"""After as many nothing is under way any more."""
FIRST_NS: Final = 100 * STEP_NS
QUIET_NS: Final = FIRST_NS + 1000 * STEP_NS
STRANGER: Final = DEV + 1

Item: TypeAlias = MemState | Event


class Stream:
    """What a small kernel did, and what of it can be seen."""

    def __init__(self, kernel: Kernel, items: list[Item]) -> None:
        self.kernel = kernel
        self.items = items

    def __repr__(self) -> str:
        return "\n".join(_in_words(item) for item in self.items)

    def judged(self, *more: Item) -> Findings:
        judge = Judge(REVISIONS["6.10"], cpus=range(2))
        for item in (*self.items, *more):
            if isinstance(item, MemState):
                judge.state(item)
            else:
                judge.feed([item])
        return judge.finish()


def _in_words(item: Item) -> str:
    if isinstance(item, MemState):
        return "state " + ", ".join(f"{pool.address:#x} {pool.begin_ns}..{pool.end_ns}" for pool in item.pools)
    return str(item)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    kernel = Kernel(can_grow=draw(st.booleans()))
    long = st.integers(0, 2 * STEP_NS - 1)
    sizes = draw(st.sampled_from([(1, 2, 5, 40, 100, 128), (100, 128)]))  # of the large ones, an area holds one
    moment_ns, grown_ns = FIRST_NS, 0
    for _ in range(STEPS):
        moment_ns += draw(st.sampled_from([1, 1, 1, 1, 1, PAUSE_STEPS])) * STEP_NS
        times = moment_ns, moment_ns - draw(long), moment_ns + draw(long)
        over = [live for live in kernel.live if live.mapped_ns < times[1]]
        what = draw(st.sampled_from(["map", "map", "unmap", "unmap", "grow" if kernel.can_grow else "map"]))
        if what == "unmap" and over:
            kernel.unmap(*times, draw(st.sampled_from(over)))
        elif what == "grow" and len(kernel.swiotlb.pools) < 3 and grown_ns < times[1]:
            kernel.grow(*times)
            grown_ns = times[2]  # there is one worker
        else:
            nslots = draw(st.sampled_from(sizes))
            cpu, dev = draw(st.integers(0, 1)), draw(st.sampled_from([DEV, DEV, STRANGER, PADDED]))
            kernel.map(*times, cpu, nslots, dev, draw(st.integers(0, 7)) if dev == PADDED else 0)
    return Stream(kernel, list(_told(draw, kernel)))


def _told(draw: st.DrawFn, kernel: Kernel) -> Iterator[Item]:
    """A state copied amid operations and what was over after it began; with some lost, and then another state."""
    begin_ns = FIRST_NS + draw(st.integers(-2, 12)) * STEP_NS
    again_ns = begin_ns + draw(st.integers(4, 16)) * STEP_NS
    loses = draw(st.booleans())
    known_ns = (again_ns if loses else begin_ns) + 6 * STEP_NS + ASSUMED_DURATION_NS
    yield _copied(draw, kernel, begin_ns)
    yield device()
    yield device(PADDED, min_align_mask=ALIGN_MASK)
    if draw(st.booleans()):
        yield device(STRANGER)
    events = sorted((event for event in kernel.events if event.exit_ns >= begin_ns), key=lambda event: event.exit_ns)
    if not loses:
        for event in events:
            yield _seen(draw, event, known_ns)
        return
    before = [event for event in events if event.exit_ns < again_ns]
    first = draw(st.integers(0, len(before)))
    last = draw(st.integers(first, len(before)))
    for event in before[:first]:
        yield _seen(draw, event, known_ns)
    yield Gap(begin_ns, again_ns - 1, last - first, "ring buffer full")
    for event in before[last:]:
        yield _seen(draw, event, known_ns)
    yield _copied(draw, kernel, again_ns)
    for event in events[len(before) :]:
        yield _seen(draw, event, known_ns)


def _copied(draw: st.DrawFn, kernel: Kernel, begin_ns: int) -> MemState:
    moments = sorted(draw(st.lists(st.integers(0, 6 * STEP_NS), min_size=3, max_size=3)))
    turns = draw(st.lists(st.integers(0, NSLABS), min_size=2, max_size=2))
    copy = kernel.copied([begin_ns, *(begin_ns + moments[sum(s > t for t in turns)] for s in range(NSLABS))])
    return replace(machine(*copy, can_grow=kernel.can_grow, settled=False), default_nslabs=GROWN_NSLABS)


def _last_state(kernel: Kernel) -> MemState:
    """The state read when all was over."""
    pools = (replace(pool, begin_ns=QUIET_NS, end_ns=QUIET_NS + 1) for pool in kernel.states[-1][1])
    return replace(machine(*pools, can_grow=kernel.can_grow), default_nslabs=GROWN_NSLABS)


def _seen(draw: st.DrawFn, event: Find | Unmap | Grow | PoolAlloc, known_ns: int) -> Event:
    """An event as it is told; of releases that may overlap a copy it is not told that they were not seen to begin."""
    if isinstance(event, Find) and draw(st.integers(0, 5)) == 0:
        return event._replace(entry_ns=ENTRY_UNKNOWN, migrated=True, cpu=event.cpu ^ draw(st.integers(0, 1)))
    if isinstance(event, Unmap) and draw(st.integers(0, 5)) == 0:
        return event._replace(entry_ns=ENTRY_UNKNOWN)
    return event


@settings(max_examples=100, deadline=None)
@given(streams())
def test_a_right_kernel_is_never_said_to_be_wrong(stream: Stream) -> None:
    findings = stream.judged(_last_state(stream.kernel))
    assert (findings.first, findings.disagree, findings.safety_violations) == (None, 0, 0)


@settings(max_examples=100, deadline=None)
@given(streams(), st.integers(-1, NSLABS - 1))
def test_a_wrong_slot_is_named_once_all_is_known(stream: Stream, slot: int) -> None:
    kernel = stream.kernel
    at = QUIET_NS
    for live in [live for live in kernel.live if not live.pool.transient]:
        kernel.unmap(at := at + 1, at, at, live)
    while kernel.place(0, 128):  # takes every slot there is, so that of none it can be in doubt what it was
        kernel.map(at := at + 1, at, at, 0, 128)
    for live in kernel.live[::2]:
        kernel.unmap(at := at + 1, at, at, live)
    for cpu in (0, 1):
        kernel.map(at := at + 1, at, at, cpu, 1)
    shown = [event for event in kernel.events if event.exit_ns >= QUIET_NS - 1]
    pool = kernel.pool
    right = kernel.place(0, 1)
    wrong = found(at + 10, at + 20, slot, pool=pool.address)
    assume(right is None or (right.pool, right.slot) != (pool, slot))
    assume(right is not None or slot >= 0)
    findings = stream.judged(*shown, wrong)
    assert findings.first is not None
    assert findings.first.event == wrong
