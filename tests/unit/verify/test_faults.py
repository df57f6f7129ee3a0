"""Every disagreement is counted as one kind, and the first of each kind is told of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from swiotlb_top.allocator import Hazard, Pool, Violation
from swiotlb_top.events import Event
from swiotlb_top.reports.replay import replay
from swiotlb_top.verify import MEANINGS, Fault, Judge
from swiotlb_top.verify.diagnose import unconfirmed
from swiotlb_top.verify.faults import worst
from tests.support.corpus import HISTORIES, path_of
from tests.support.histories import (
    OLDER,
    OLDER_START,
    POOL,
    SLOT_BYTES,
    START,
    allocated,
    device,
    empty_pool,
    found,
    grown,
    judging,
    machine,
    mapped,
    pool_with,
    released,
    searched_in_vain,
    state_of,
)

SEED = Path(__file__).parents[2] / "traces" / "seed.swtrace"
NEW, NEW_START = POOL + 0x200, START + (1 << 29)


def growing() -> Judge:
    """A machine that may add pools."""
    return judging(machine(state_of(empty_pool()), can_grow=True))


def of_a_page() -> Judge:
    """A device that asks to keep the low bits of addresses, which has the first slot."""
    judge = judging()
    judge.feed([device(min_align_mask=0xFFF)])
    return judge


HISTORY: dict[Fault, tuple[Callable[[], Judge], list[Event]]] = {
    Fault.OVERLAP: (lambda: judging(machine(state_of(pool_with(0)))), [found(1000, 1100, 0)]),
    Fault.OUT_OF_BOUNDS: (judging, [found(1000, 1100, 511, 2)]),
    Fault.MISALIGNED_ADDRESS: (of_a_page, [found(1000, 1100, 1)]),
    Fault.MISALIGNED_SLOT: (judging, [found(1000, 1100, 1)._replace(alloc_align_mask=0xFFF)]),
    Fault.SPANS_BOUNDARY: (
        judging,
        [device()._replace(seg_boundary_mask=0xFFF), found(1000, 1100, 1, 2)],
    ),
    Fault.NOT_MAPPED: (judging, [released(1000, 1100, 3)]),
    Fault.UNKNOWN_POOL: (judging, [found(1000, 1100, 0, pool=NEW)]),
    Fault.FAILED: (judging, [searched_in_vain(1000, 1100)]),
    Fault.OTHER_SLOTS: (judging, [found(1000, 1100, 1)]),
    Fault.OTHER_ADDRESS: (judging, [mapped(1000, 1100, 0)._replace(tlb_addr=START + 8)]),
    Fault.TRANSIENT: (
        growing,
        [allocated(1050, NEW, NEW_START, 1), found(1000, 1100, 0, pool=NEW)],
    ),
    Fault.GROWTH: (growing, [allocated(1050, NEW, NEW_START, 384), grown(1000, 1100, NEW, NEW_START, 384)]),
}


@pytest.mark.parametrize("fault", HISTORY)
def test_a_history_with_one_thing_wrong_has_one_fault_of_that_kind(fault: Fault) -> None:
    begin, events = HISTORY[fault]
    judge = begin()
    judge.feed(events)
    findings = judge.finish()
    assert findings.faults == {fault: 1}, findings
    assert findings.firsts[fault].event == events[-1]
    assert findings.first is findings.firsts[fault]


def test_a_state_that_is_not_the_references_is_a_fault_of_the_area_or_of_the_list() -> None:
    judge = judging(machine(state_of(empty_pool()), can_grow=True))
    judge.state(machine(state_of(pool_with(5), 2000, 2010)))
    assert judge.finish().faults == {Fault.STATE: 1}
    judge = judging(machine(state_of(empty_pool()), can_grow=True))
    older = Pool(OLDER, OLDER_START, 512, 1)
    judge.state(machine(state_of(empty_pool(), 2000, 2010), state_of(older, 2000, 2010)))
    assert judge.finish().faults == {Fault.POOL_LIST: 1}


def test_a_release_of_another_size_is_not_of_what_is_mapped() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0), released(1200, 1300, 0)._replace(mapping_size_bytes=SLOT_BYTES + 1)])
    assert judge.finish().faults == {Fault.NOT_MAPPED: 1}


def test_a_mapping_of_which_slots_were_given_out_again_is_gone_from_the_reference() -> None:
    """Its release breaks no rule of the books, which still have it."""
    judge = judging()
    judge.feed([found(1000, 1100, 0, 2), found(1200, 1300, 1), released(1400, 1500, 0, 2)])
    assert judge.finish().faults == {Fault.OVERLAP: 1, Fault.RELEASE: 1}


def test_of_several_broken_rules_the_worst_counts() -> None:
    both = (Violation(Hazard.MISALIGNED_SLOT, ""), Violation(Hazard.OVERLAP, ""))
    assert worst(both) is worst(both[::-1]) is Fault.OVERLAP
    assert worst(()) is None


def test_each_kind_is_told_in_words_and_each_hazard_is_one() -> None:
    assert set(MEANINGS) == set(Fault)
    assert {hazard.value for hazard in Hazard} < {fault.value for fault in Fault}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_counts_add_up_and_each_kind_has_its_first(name: str) -> None:
    findings = replay(path_of(name)).findings
    assert sum(findings.faults.values()) == findings.disagree
    assert findings.firsts.keys() == findings.faults.keys()


def test_the_first_of_a_kind_is_the_earliest_whichever_is_confirmed_first() -> None:
    """A search that breaks no rule is confirmed when all calls are known; slots beyond the pool's end at once."""
    judge = judging()
    judge.feed([found(1000, 1100, 3), found(1200, 1300, 511, 2)])
    judge.advance(10_000_000_000)
    assert judge.findings.faults == {Fault.OUT_OF_BOUNDS: 1}
    findings = judge.finish()
    assert findings.faults == {Fault.OUT_OF_BOUNDS: 1, Fault.OTHER_SLOTS: 1}
    assert findings.first is findings.firsts[Fault.OTHER_SLOTS]


def test_beyond_the_first_few_that_are_open_it_is_kept_in_brief_and_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unconfirmed, "MOST_IN_FULL", 0)
    report = replay(path_of("one-slot-further"))
    first = report.findings.first
    assert first is not None
    assert (first.orders, first.picture) == (None, "")
    assert first.expected.startswith("slot 304 of pool ")
    assert "  orders:    not kept: too many disagreements were not confirmed yet\n" in report.as_text()


def test_beyond_many_nothing_is_kept_and_they_are_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unconfirmed, "MOST_IN_FULL", 0)
    monkeypatch.setattr(unconfirmed, "MOST_IN_BRIEF", 0)
    findings = replay(path_of("one-slot-further")).findings
    assert sum(findings.faults.values()) == findings.disagree == 4
    assert (findings.firsts, findings.first) == ({}, None)


def test_a_kernel_that_disagrees_is_never_without_a_first_disagreement() -> None:
    """Hundreds are open at a time in this recording, and the states that it has confirm later ones before earlier."""
    findings = replay(SEED, "6.8").findings
    assert findings.disagree
    assert findings.firsts.keys() == findings.faults.keys()
