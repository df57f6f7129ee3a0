"""When an operation may have begun, and on which CPU."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import Pool
from swiotlb_top.events import ENTRY_UNKNOWN
from swiotlb_top.records import DURATION_UNKNOWN, RECORD, Kind, decode
from swiotlb_top.state import MemState
from tests.support.histories import (
    DEV,
    POOL,
    SECOND_NS,
    SLOT_BYTES,
    START,
    found,
    judging,
    machine,
    searched_in_vain,
    state_of,
)

# ---- entries, order, time ---------------------------------------------------


def test_an_operation_whose_entry_was_not_seen_may_have_begun_long_before() -> None:
    packed = RECORD.pack(SECOND_NS, DURATION_UNKNOWN, 0, Kind.FIND, 0, DEV, POOL, 0x20_0000, SLOT_BYTES, 0, 0, 0)
    (unseen,) = decode(packed)
    assert unseen == found(ENTRY_UNKNOWN, SECOND_NS, 0)._replace(orig_addr=0x20_0000)
    judge = judging()
    judge.feed(
        [found(SECOND_NS - 2_000_000, SECOND_NS - 1_000_000, 1), unseen, found(SECOND_NS + 10, SECOND_NS + 20, 2)]
    )
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (3, 0, 0)


def test_events_may_come_out_of_order() -> None:
    judge = judging()
    judge.feed([found(1200, 1300, 1)])
    judge.feed([found(1000, 1100, 0)])
    assert judge.finish().agree == 2


def test_only_what_is_over_by_then_is_judged_and_the_rest_dropped() -> None:
    judge = judging()
    judge.feed([found(1000, 1100, 0), found(2000, 2100, 1), found(2050, 3000, 99)])
    findings = judge.finish(2500)
    assert (findings.agree, findings.disagree, findings.inconclusive) == (1, 0, 0)
    assert judge.finish().agree == 1


def test_a_long_stream_is_judged_on_the_way() -> None:
    judge = judging()
    for second in range(1, 6):
        begin_ns = second * SECOND_NS
        judge.feed([searched_in_vain(at, at + 50, 129) for at in range(begin_ns, begin_ns + 200_000, 100)])
        judge.keep_up()
    assert 0 < judge.findings.agree < 5 * 2000
    assert judge.finish().agree == 5 * 2000


# ---- on which CPU a search began --------------------------------------------


def four_areas() -> MemState:
    return machine(state_of(Pool(POOL, START, 512, 4)))


@pytest.mark.parametrize("slot", [0, 128, 256, 384])
def test_a_search_that_was_not_seen_to_begin_may_have_begun_on_any_cpu(slot: int) -> None:
    judge = judging(four_areas(), cpus=4)
    judge.feed([found(1000, 1100, slot, cpu=1)._replace(migrated=True)])
    findings = judge.finish()
    assert (findings.agree, findings.disagree, findings.inconclusive) == (1, 0, 0)


def test_so_may_one_that_took_long_enough_to_move_there_and_back() -> None:
    judge = judging(four_areas(), cpus=4)
    judge.feed([found(1000, 2_000_000, 384, cpu=1)])
    assert judge.finish().agree == 1


def test_a_slot_that_no_cpu_explains_is_wrong_wherever_the_search_began() -> None:
    judge = judging(four_areas(), cpus=4)
    judge.feed([found(1000, 1100, 129, cpu=1)._replace(migrated=True)])
    assert judge.finish().disagree == 1


def test_a_search_that_was_seen_to_begin_began_there() -> None:
    judge = judging(four_areas(), cpus=4)
    judge.feed([found(1000, 1100, 0, cpu=1)])
    assert judge.finish().disagree == 1
