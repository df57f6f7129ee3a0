"""The native core against the Python judge: ``python -m tests.fuzz.native [MINUTES [SEED [LIBRARY [HISTORIES]]]]``.

Kernels that do what the reference does, of every revision, are watched, and some of what was seen of them is changed.
Each is judged with the core and without: findings, model and ledger must be the same to the last bit. With LIBRARY
another build of the core is used (:mod:`tests.support.native_builds` makes one that checks itself).
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Final, NamedTuple
from unittest.mock import patch

from swiotlb_top import native
from swiotlb_top.accounting.account import Account
from swiotlb_top.allocator import REVISIONS, Allocator, Ledger, Pool, named
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.allocator.safety import misplaced
from swiotlb_top.allocator.walk import walk_of
from swiotlb_top.constants import MAX_ALLOC_BYTES, PAGE_SIZE
from swiotlb_top.events import Gap, Map
from swiotlb_top.native.pause import Pause
from swiotlb_top.records import RECORD, RECORD_BYTES, RawRecord
from swiotlb_top.state import MemState
from swiotlb_top.stream import Batch
from swiotlb_top.verify import Judge, in_core
from swiotlb_top.verify.comparison import Comparison
from swiotlb_top.verify.operations import lone_calls
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.lone_calls import LoneCalls
from swiotlb_top.verify.operations.slot_search import SlotSearch
from tests.support.packed import packed
from tests.support.sound_kernel import SoundKernel
from tests.support.sound_kernel_settings import Setting

STEPS: Final = 400
UNREACHABLE: Final = 0x10
"""``FLAG_UNREACHABLE`` of bpf/record.h."""

_OFFSETS: Final = (1, -1, 2, 128, 2048, 4096, -2048, 1 << 31, 1 << 52, (1 << 64) - 1)
_NUMBERS: Final = (0, 1, 127, 128, 2047, 2048, 4096, 1 << 18, (1 << 18) + 1, (1 << 31) - 1, 0xFFFF_FFFF, (1 << 64) - 1)
_WIDTHS: Final = dict(zip(RawRecord._fields, (64, 32, 16, 8, 8, 64, 64, 64, 64, 64, 32, 32), strict=True))
_CHANGED: Final = ("duration_ns", "cpu", "flags", "object", "pool", "address", "size", "result", "align_mask")


class Worth(NamedTuple):
    """From when on the core is used."""

    shortest: int
    """So many calls are a run."""
    cost: int
    """So many calls are worth a copy."""


ALWAYS: Final = Worth(1, 0)
HORIZON_NS: Final = 2_000_000_000
"""Longer than the judge waits for calls that may overlap others."""


class History(NamedTuple):
    """What was seen of a kernel."""

    revision: str
    before: MemState
    blocks: Sequence[bytes | Gap | MemState]
    """Blocks of packed records, and what comes between them."""
    after: MemState


def drawn(seed: int) -> tuple[History, Worth]:
    """A history, and from when on the core is used for it."""
    chance = random.Random(seed)  # noqa: S311
    revision, draw = chance.choice(list(REVISIONS)), chance.random
    dynamic = revision != "6.1" and draw() < 0.5
    setting = Setting(revision, draw() < 0.4, dynamic, draw() < 0.3, draw() < 0.2, draw() < 0.15, draw() < 0.3)
    kernel = SoundKernel(setting, seed)
    introduced = [event for event in kernel.events if type(event).__name__ == "Device"]
    for _ in range(STEPS // 4 if setting.late else 0):
        kernel.step()
    if not setting.late:
        introduced = []
    else:
        kernel.forget()
    shared = chance.choice((-1, 0, 1))
    before = replace(kernel.state(), cc_shared=shared)
    for _ in range(STEPS):
        kernel.step()
    data = packed([*introduced, *sorted(kernel.events, key=lambda event: event.exit_ns)])
    records = [data[at : at + RECORD_BYTES] for at in range(0, len(data), RECORD_BYTES)]
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        _change(records, chance)
    blocks: list[bytes | Gap | MemState] = []
    while records:
        length = chance.choice((1, 3, 50, 200, 1000))
        blocks.append(b"".join(records[:length]))
        del records[:length]
    if draw() < 0.2:
        blocks.insert(chance.randrange(len(blocks)), Gap(0, 0, 1, "lost"))
    after = replace(kernel.state(), cc_shared=shared)
    return History(revision, before, blocks, after), chance.choice((ALWAYS, Worth(4, 0), Worth(32, 100)))


def _change(records: list[bytes], chance: random.Random) -> None:
    """Change a record, or where it stands."""
    at, draw = chance.randrange(len(records)), chance.random()
    if draw < 0.1:
        del records[at]
    elif draw < 0.2:
        records.insert(at, records[chance.randrange(len(records))])
    elif draw < 0.3:
        other = chance.randrange(len(records))
        records[at], records[other] = records[other], records[at]
    elif draw < 0.4:
        record = RawRecord._make(RECORD.unpack(records[at]))
        records[at] = RECORD.pack(*record._replace(flags=record.flags | UNREACHABLE))
    else:
        record = RawRecord._make(RECORD.unpack(records[at]))
        field = chance.choice(_CHANGED)
        value = getattr(record, field)
        value = value + chance.choice(_OFFSETS) if chance.random() < 0.7 else chance.choice(_NUMBERS)
        records[at] = RECORD.pack(*record._replace(**{field: value & ((1 << _WIDTHS[field]) - 1)}))


class Result(NamedTuple):
    """Of one history."""

    known: object
    """Everything that is known after it was judged and counted,"""
    effort: tuple[int, int]
    """but for how many steps were tried, and how many more areas may be asked."""
    at_once: int
    """How many calls the core judged of it."""
    left: list[str]
    """The searches that the core left to Python for no reason."""


def judged(history: History, switch: str, worth: Worth = ALWAYS) -> Result:
    """Judge and count a history. ``switch`` is in the environment."""
    at_once: list[int] = []
    left: list[str] = []

    def watched(model: Allocator, ledger: Ledger, calls: LoneCalls, pause: Pause) -> set[tuple[Pool, int]]:
        waiting = calls.compared
        found = in_core_judges(model, ledger, calls, pause)
        at_once.append(waiting - calls.compared)
        if at_once[-1] and calls.run:
            search = LoneCalls(calls.run, calls.meaning).first()
            left.extend([search.observed()] if is_left_for_nothing(search, model) else [])
        return found

    in_core_judges = in_core.judge_at_once
    with (
        patch.dict(os.environ, {native.SWITCH: switch}),
        patch.object(lone_calls, "SHORTEST", worth.shortest),
        patch.object(in_core, "cost_of", lambda _: worth.cost),
        patch("swiotlb_top.verify.comparison.judge_at_once", watched),
        patch("swiotlb_top.accounting.account.cost_of", lambda *_: worth.cost),
    ):
        judge = Judge(named(history.revision), cpus=(0, 1, 4, 6))
        account = Account(named(history.revision))
        for consumer in (account, judge):
            consumer.state(history.before)
        for block in history.blocks:
            if not isinstance(block, bytes):
                _tell(block, account, judge)
                continue
            batch = Batch(block)
            judge.feed(batch)
            account.feed(batch)
            # Of some blocks all is judged at once, so that calls of the next turn up late.
            judge.advance((judge._waiting.last_ns or 0) + HORIZON_NS * (len(batch) % 2))
        for consumer in (account, judge):
            consumer.state(history.after)
        judge.finish()
    effort = judge.steps, judge.model.patience if judge.model else 0
    return Result((of_judge(judge), of_account(account)), effort, sum(at_once), left)


def _tell(item: Gap | MemState, account: Account, judge: Judge) -> None:
    """Tell both of what is no call."""
    for consumer in (account, judge):
        if isinstance(item, Gap):
            consumer.gap(item)
        else:
            consumer.state(item)


def is_left_for_nothing(operation: Operation, model: Allocator) -> bool:
    """Whether it is a search in which the kernel did as the reference does, and nothing is rare."""
    if not isinstance(operation, SlotSearch) or operation.pool is None or operation.slot < 0:
        return False
    request, pool, call = operation.request, operation.pool, operation.event
    if isinstance(call, Map) and call.mapping_size_bytes > MAX_ALLOC_BYTES:
        return False
    limits, page_or_more = request.limits, request.alloc_size_bytes >= PAGE_SIZE
    walk_class = request.alloc_align_mask, limits, page_or_more, not request.orig_addr
    walks = [walk_of(model.revision.alignment, one.start, one.list_end, walk_class) for one in model.pools]
    if any(walk.alignment.until_back or not walk.period for walk in walks):
        return False
    first = slot_addr(pool.start, operation.slot)
    address = model.revision.tlb_addr(pool.start, operation.slot, request)
    end = slot_addr(first, operation.nslots)
    if address >= end or [*misplaced(first, end, address, request, pads_slots=model.revision.pads_slots)]:
        return False
    patience = model.patience
    undo = operation.apply_if_legal(model)
    model.patience = patience
    if undo is None:
        return False
    undo()
    return True


def is_sure(history: History, worth: Worth, effort: tuple[int, int]) -> bool:
    """Whether Python takes that effort each time. Of orders that explain the same it may try another first."""
    return all(judged(history, "0", worth).effort == effort for _ in range(8))


def of_judge(judge: Judge) -> object:
    """Findings, and what they were compared with."""
    findings, comparison = judge.findings, judge._comparison
    return (
        (findings.agree, findings.disagree, findings.inconclusive, findings.safety_violations, findings.elsewhere),
        (findings.equal_areas, list(findings.doubts.items()), list(findings.faults.items()), findings.failures),
        [(fault, first) for fault, first in findings.firsts.items()],
        judge.blind,
        of_comparison(comparison) if comparison else None,
    )


def of_comparison(comparison: Comparison) -> object:
    """Model and ledger."""
    ledger, model = comparison._ledger, comparison.model
    return (
        comparison._operations,
        [
            (pool.address, pool.free_masks(), pool.area_used, pool.area_index, pool.held(pool.nslabs))
            for pool in model.pools
        ],
        [(sorted(ledger.entries(pool)), ledger.used_slots(pool)) for pool in model.pools],
        [(pool.address, area, others) for (pool, area), others in comparison._alternatives.items()],
    )


def of_account(account: Account) -> object:
    """Totals, devices, and what is open."""
    devices = account.devices
    return (
        (account.events, account.sure, replace(account.totals(), pools=()), account.failures()),
        [(dev, device.view(), device.tried) for dev, device in devices.items()],
        [(device.latencies._latest, device.lifetimes._latest, device.lifetimes._counts) for device in devices.values()],
        [[*device.lifetimes._open.values()] for device in devices.values()],
        [(pool.address, pool.used_slots, list(pool.live.items()), pool.next) for pool in account.pools.values()],
    )


def tried(seeds: Iterable[int], until_s: float = float("inf")) -> tuple[int, int, list[str]]:
    """How many histories were judged both ways, how many calls of them by the core, and what was wrong."""
    histories = at_once = 0
    wrong: list[str] = []
    for seed in seeds:
        if time.monotonic() > until_s:
            break
        history, worth = drawn(seed)
        by_core, by_python = judged(history, "", worth), judged(history, "0", worth)
        histories, at_once = histories + 1, at_once + by_core.at_once
        wrong += [f"seed {seed}: {search} was left to Python for no reason" for search in by_core.left]
        if by_core.known != by_python.known or by_python.at_once:
            wrong.append(f"seed {seed}: the core and Python do not say the same")
        elif by_core.effort != by_python.effort and is_sure(history, worth, by_python.effort):
            wrong.append(f"seed {seed}: the core and Python do not take the same effort")
    return histories, at_once, wrong


def main(arguments: list[str]) -> int:
    """Try as many histories as time allows."""
    minutes, seed, library, histories = [*arguments, *("1", "1", native.LIBRARY, "0")[len(arguments) :]]
    native.LIBRARY = library  # type: ignore[misc]  # this process has that one
    if native.core() is None:
        print("there is no native core: pip install . builds it where there is a compiler", file=sys.stderr)
        return 1
    seeds = islice(count(int(seed)), int(histories) or None)
    tried_, at_once, wrong = tried(seeds, time.monotonic() + 60 * float(minutes))
    print(f"{tried_} histories were judged with the core and without, {at_once} calls by the core")
    print("\n".join(wrong), end="\n" * bool(wrong))
    return int(bool(wrong) or not at_once)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
