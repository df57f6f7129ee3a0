"""Verified events a second, by how wide operations overlap: ``python -m tests.bench.bench_overlap [FILE]``.

A recording of four CPUs is judged as it is, and with its operations made to overlap in blocks: of a block each was
entered with the first, so that any order of theirs is possible that their ends allow, and that releases nothing before
it is mapped. Seconds are of processor time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from swiotlb_top.allocator.geometry import nr_slots
from swiotlb_top.constants import IO_TLB_SHIFT
from swiotlb_top.events import Event, Find, PoolAlloc, Unmap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.state import MemState
from swiotlb_top.trace import TraceReader
from swiotlb_top.verify import Findings
from tests.bench.bench_replay import best_s, decoded, read
from tests.lab.harness.vm import CHECKOUT

WIDTHS: Final = (1, 2, 4, 8, 16, 32)


def in_blocks(events: list[Event], width: int, state: MemState) -> list[Event]:
    """Every ``width`` operations that began after the state was read overlap, but no release begins before its map."""
    after_ns = max(pool.end_ns for pool in state.pools)
    starts = {pool.address: pool.start for pool in state.pools}
    mapped_ns: dict[int, int] = {}
    wide: list[Event] = []
    entry_ns = count = 0
    for event in events:
        if isinstance(event, PoolAlloc):
            starts[event.pool] = event.start
        if isinstance(event, Find) and event.slot >= 0:
            first = (starts[event.pool] >> IO_TLB_SHIFT) + event.slot
            mapped_ns.update(dict.fromkeys(range(first, first + nr_slots(event.alloc_size_bytes)), event.exit_ns))
        if isinstance(event, Find | Unmap) and event.entry_ns > after_ns:
            entry_ns = entry_ns if count % width else event.entry_ns
            count += 1
            since_ns = mapped_ns.get(event.tlb_addr >> IO_TLB_SHIFT, 0) if isinstance(event, Unmap) else 0
            wide.append(event._replace(entry_ns=min(max(entry_ns, since_ns), event.entry_ns)))
        else:
            wide.append(event)
    return wide


def judged(path: Path, state: MemState, events: list[Event]) -> Findings:
    judge = Pipeline(TraceReader(path).header.kernel).judge
    judge.state(state)
    judge.feed(events)
    return judge.finish()


def main(arguments: list[str]) -> None:
    path = Path(arguments[0]) if arguments else CHECKOUT / "tests/traces/four-cpus.swtrace"
    items = read(path)
    state = next(item for item in items if isinstance(item, MemState))
    events = [event for batch in decoded(items) for event in batch]
    print(f"{path.name}: {len(events)} events")
    print(f"{'overlapping':>11} {'verified/s':>11} {'ratio':>6} {'inconclusive':>13} {'wrong':>6}")
    first = 0.0
    for width in WIDTHS:
        wide = in_blocks(events, width, state)
        findings = judged(path, state, wide)
        rate = findings.compared / best_s(lambda wide=wide: judged(path, state, wide))  # type: ignore[misc]
        first = first or rate
        doubtful = findings.inconclusive / (findings.compared + findings.inconclusive)
        print(f"{width:11} {rate:11,.0f} {rate / first:6.2f} {doubtful:13.2%} {findings.disagree:6}")


if __name__ == "__main__":
    main(sys.argv[1:])
