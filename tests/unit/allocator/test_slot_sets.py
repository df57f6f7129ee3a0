"""How many slots a slot set has is read off the free lists; where it is not what is known, nothing is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, slot_set_slots
from swiotlb_top.allocator.slot_sets import check_slot_sets
from swiotlb_top.errors import CannotError
from swiotlb_top.state import MemState, PoolState
from swiotlb_top.trace import Header, TraceReader, TraceWriter
from swiotlb_top.verify import Doubt, Judge
from tests.support.histories import KERNEL, device, empty_pool, found, machine, pool_with, released, state_of


def free_list(free: Iterable[bool], set_slots: int) -> tuple[int, ...]:
    """``list`` as a kernel with such slot sets keeps it."""
    runs: list[int] = []
    is_free = list(free)
    for slot in reversed(range(len(is_free))):
        ends = (slot + 1) % set_slots == 0 or not runs
        runs.append((1 if ends else runs[-1] + 1) if is_free[slot] else 0)
    return tuple(reversed(runs))


def with_sets(set_slots: int, free: Iterable[bool] = (True,) * 512) -> MemState:
    pool: PoolState = replace(state_of(empty_pool(512)), list_=free_list(free, set_slots))
    return machine(pool)


@pytest.mark.parametrize("set_slots", [8, 16, 32, 64, 128, 256, 512])
def test_an_empty_set_tells_how_many_slots_it_has(set_slots: int) -> None:
    assert slot_set_slots(with_sets(set_slots)) == set_slots


@given(st.lists(st.booleans(), min_size=512, max_size=512))
def test_sets_of_128_slots_are_never_taken_for_others(free: list[bool]) -> None:
    mem = with_sets(128, free)
    assert slot_set_slots(mem) == (128 if any(free) else None)
    assert slot_set_slots(replace(mem, settled=False)) == (128 if any(free) else None)


def test_what_a_torn_copy_shows_does_not_make_sets_smaller() -> None:
    assert slot_set_slots(replace(with_sets(64), settled=False)) == 128


@pytest.mark.parametrize("set_slots", [64, 256])
def test_of_a_kernel_with_other_slot_sets_nothing_is_claimed(set_slots: int) -> None:
    """By the reference, a mapping behind slot 126 of an empty pool is to begin in the next set."""
    judge = Judge(REVISIONS["6.10"])
    judge.state(with_sets(set_slots))
    judge.feed([device(), found(1000, 1100, 0, 63), found(1200, 1300, 64, 65), released(1400, 1500, 64, 65)])
    judge.state(machine(state_of(pool_with(0), 1600, 1700)))
    judge.feed([found(2000, 2100, 1)])
    findings = judge.finish()
    assert (findings.compared, findings.doubts) == (0, {Doubt.SLOT_SETS: 4})


def test_a_recording_of_such_a_kernel_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "large-sets.swtrace"
    with TraceWriter(path, Header(KERNEL, "0", "CLOCK_MONOTONIC", 0)) as writer:
        writer.state(with_sets(512))
        writer.end({}, 2000, 0)
    (mem,) = (item for item in TraceReader(path) if isinstance(item, MemState))
    assert slot_set_slots(mem) == 512


@pytest.mark.parametrize("set_slots", [64, 256])
def test_a_kernel_whose_slot_sets_are_others_is_refused(set_slots: int) -> None:
    with pytest.raises(CannotError, match=rf"slot sets have {set_slots} slots \(IO_TLB_SEGSIZE\)"):
        check_slot_sets(with_sets(set_slots))


def test_one_whose_slot_sets_are_known_or_do_not_show_is_not() -> None:
    check_slot_sets(with_sets(128))
    check_slot_sets(with_sets(128, (False,) * 512))
