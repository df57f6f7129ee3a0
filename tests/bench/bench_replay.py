"""Replayed events a second: ``python -m tests.bench.bench_replay [FILE]``, by default of the bundled recording.

The parts are those of Python; the whole is also measured with the native core, where that is there.

Seconds are of processor time, and the best of several rounds is printed, as other work on the machine
only ever slows one down. Parts are also given as a share of the whole of the same run: shares can be
compared between machines, seconds cannot.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from swiotlb_top.accounting.account import Account
from swiotlb_top.allocator import REVISIONS
from swiotlb_top.events import Event
from swiotlb_top.native import SWITCH, core
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import MemState
from swiotlb_top.trace import Item, Records, TraceReader
from tests.support.doctoring import GROWING

ROUNDS: Final = 5


def read(path: Path) -> list[Item]:
    """The file, decompressed and checked."""
    return list(TraceReader(path))


def decoded(items: list[Item]) -> list[list[Event]]:
    """Records to events."""
    return [list(item.events()) for item in items if isinstance(item, Records)]


def accounted(state: MemState, batches: list[list[Event]]) -> None:
    """Events counted."""
    account = Account(REVISIONS["6.10"])
    account.state(state)
    for batch in batches:
        account.feed(batch)


def judged(path: Path, state: MemState, batches: list[list[Event]]) -> None:
    """Events put to the reference and to the ledger."""
    judge = Pipeline(TraceReader(path).header.kernel).judge
    judge.state(state)
    for batch in batches:
        judge.feed(batch)
        judge.keep_up()
    judge.finish()


def best_s(work: Callable[[], object]) -> float:
    """Processor seconds of the fastest of :data:`ROUNDS`."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def main(arguments: list[str]) -> None:
    """Measure one recording and print a line a part."""
    path = Path(arguments[0]) if arguments else GROWING
    items = read(path)
    batches = decoded(items)
    state = next(item for item in items if isinstance(item, MemState))
    events = sum(len(batch) for batch in batches)
    print(f"{path.name}: {events} events, best of {ROUNDS}")
    with_core_s = best_s(lambda: replay(path)) if core() else 0.0
    os.environ[SWITCH] = "0"
    whole_s = best_s(lambda: replay(path))
    parts: dict[str, Callable[[], object]] = {
        "read": lambda: read(path),
        "decode": lambda: decoded(items),
        "account": lambda: accounted(state, batches),
        "judge": lambda: judged(path, state, batches),
    }
    print(f"{'whole replay':12} {events / whole_s:>12,.0f} events/s")
    if with_core_s:
        print(f"with core    {events / with_core_s:>12,.0f} events/s   {whole_s / with_core_s:4.1f} times as fast")
    for name, work in parts.items():
        took_s = best_s(work)
        print(f"{name:12} {events / took_s:>12,.0f} events/s   {took_s / whole_s:4.0%} of the whole")


if __name__ == "__main__":
    main(sys.argv[1:])
