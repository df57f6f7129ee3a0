"""A kernel that forgets slots: each is told of once, however often it is passed over, and as no harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Pool, Request
from swiotlb_top.events import Find, Unmap
from swiotlb_top.state import MemState
from swiotlb_top.verify import Findings, Judge
from tests.support.histories import (
    DEV,
    LIMITS,
    POOL,
    SECOND_NS,
    SLOT_BYTES,
    START,
    device,
    empty_pool,
    found,
    judging,
    machine,
    pool_with,
    released,
    state_of,
)
from tests.support.small_kernel import NSLABS, Kernel

STEP_NS: Final = 1000
FIRST_NS: Final = 100 * STEP_NS
STEPS: Final = 100
SIZES: Final = (1, 2, 5, 40, 100)
FORGOTTEN: Final = Request(0, SLOT_BYTES, 0, LIMITS)


def forget(pool: Pool, slot: int) -> None:
    """Not to be given out again, though nothing has it."""
    area = slot // pool.area_nslabs
    index = pool.area_index[area]
    pool.take(slot, FORGOTTEN, DEV + 1)
    pool.area_index[area] = index


def with_forgotten(*slots: int) -> MemState:
    """The state of a pool of 128 slots, read when it was over, with slots that nothing has."""
    pool = pool_with(nslabs=128)
    for slot in slots:
        forget(pool, slot)
    pool.area_index[0] = 64
    return machine(state_of(pool, SECOND_NS, SECOND_NS + 10))


def judged_after(*events: Find | Unmap, state: MemState | None = None) -> Findings:
    judge = judging(machine(state_of(empty_pool(128))))
    judge.feed(events)
    if state:
        judge.state(state)
    return judge.finish()


ROUND: Final[list[Find | Unmap]] = [
    found(1000, 1010, 0, 2),
    released(1020, 1030, 0, 2),
    found(1040, 1050, 2, 126),
    released(1060, 1070, 2, 126),
]
"""Goes round the pool, so that the next search begins from its first slot."""


def test_slots_that_are_passed_over_again_and_again_are_told_of_once() -> None:
    """Slot 1 is lost when slots 0 and 1 are released; of the first two, it may be either."""
    passing: list[Find | Unmap] = [
        event
        for at in range(2000, 9000, 1000)
        for event in (
            found(at, at + 10, 2, 2),
            released(at + 20, at + 30, 2, 2),
            found(at + 40, at + 50, 4, 124),
            released(at + 60, at + 70, 4, 124),
        )
    ]
    findings = judged_after(*ROUND, *passing)
    assert (findings.disagree, findings.agree, findings.inconclusive) == (1, 4 + len(passing) - 1, 0)


def test_a_slot_that_was_held_and_is_given_out_was_not_the_one() -> None:
    first_is_given_out = found(3000, 3010, 0)
    findings = judged_after(
        *ROUND,
        found(2000, 2010, 2, 126),
        released(2020, 2030, 2, 126),
        first_is_given_out,
        found(4000, 4010, 2, 2),  # past slot 1, as that is the one
    )
    assert (findings.disagree, findings.agree) == (1, 7)


def test_nor_was_it_where_it_is_given_out_while_others_are_searched_for() -> None:
    findings = judged_after(
        *ROUND,
        found(2000, 2010, 2, 126),
        released(2020, 2030, 2, 126),
        found(3000, 3020, 2, 2),  # past slot 1, as that is the one
        found(3005, 3025, 0),
        found(4000, 4010, 4),
    )
    assert (findings.disagree, findings.agree) == (1, 8)


def test_slots_that_are_given_out_after_all_leave_none_to_be_missed() -> None:
    findings = judged_after(
        *ROUND,
        found(2000, 2010, 2, 126),
        released(2020, 2030, 2, 126),
        found(3000, 3010, 0, 2),
        found(4000, 4010, 2, 2),
    )
    assert (findings.disagree, findings.agree) == (1, 7)


def test_a_state_that_was_read_tells_which_it_is() -> None:
    for slot in (0, 1):
        pool_is_searched_from_64 = found(2000, 2010, 2, 62), released(2020, 2030, 2, 62)
        findings = judged_after(*ROUND, *pool_is_searched_from_64, state=with_forgotten(slot))
        assert (findings.disagree, findings.equal_areas) == (1, 1)


def test_what_a_state_told_is_held_from_then_on() -> None:
    judge = judging(machine(state_of(empty_pool(128))))
    judge.feed([*ROUND, found(2000, 2010, 2, 62), released(2020, 2030, 2, 62)])
    judge.state(with_forgotten(1))
    at = 2 * SECOND_NS
    judge.feed([found(at, at + 10, 64, 64), found(at + 20, at + 30, 2, 60)])
    findings = judge.finish()
    assert (findings.disagree, findings.agree, findings.equal_areas) == (1, 7, 1)


def test_a_slot_that_was_given_out_meanwhile_is_not_held_in_place_of_another() -> None:
    """It was slot 1 that was lost; that this is given out, and slot 0 is not, is another fault."""
    findings = judged_after(
        *ROUND,
        found(2000, 2010, 2, 126),
        released(2020, 2030, 2, 126),
        found(3000, 3010, 0),
        released(3020, 3030, 0),
        found(4000, 4010, 2, 126),
        released(4020, 4030, 2, 126),
        found(5000, 5010, 1),
    )
    assert (findings.disagree, findings.agree) == (2, 9)


def test_another_slot_that_is_lost_is_another_fault() -> None:
    pool_is_searched_from_64 = found(2000, 2010, 2, 62), released(2020, 2030, 2, 62)
    findings = judged_after(*ROUND, *pool_is_searched_from_64, state=with_forgotten(1, 100))
    assert findings.disagree == 2


def test_amid_other_faults_at_the_same_time_each_is_named() -> None:
    """Three of twenty that overlap."""
    wrong = [released(1000, 1100 + at, slot) for at, slot in ((5, 200), (10, 300), (15, 400))]
    judge = judging()
    judge.feed([*(found(1000, 1099 + at, at) for at in range(17)), *wrong])
    findings = judge.finish()
    assert (findings.disagree, findings.agree, findings.inconclusive) == (3, 17, 0)


@st.composite
def forgetful(draw: st.DrawFn) -> tuple[Kernel, int]:
    """A kernel that forgot slots when it released others of the same mapping; how many."""
    kernel = Kernel()
    forgotten = 0
    moment_ns = FIRST_NS
    usual = st.integers(0, draw(st.sampled_from([STEP_NS // 2 - 1, 3 * STEP_NS])))
    rare = draw(st.sampled_from([usual, st.integers(0, 30 * STEP_NS)]))
    for _ in range(STEPS):
        moment_ns += STEP_NS
        long = usual if draw(st.integers(0, 19)) else rare
        times = moment_ns, moment_ns - draw(long), moment_ns + draw(long)
        over = [live for live in kernel.live if live.mapped_ns < times[1]]
        maps = draw(st.booleans())
        if over and not maps:
            gone = draw(st.sampled_from(over))
            kernel.unmap(*times, gone)
            if gone.nslots > 1 and draw(st.integers(0, 5)) == 0:
                forget(gone.pool, gone.slot + draw(st.integers(0, gone.nslots - 1)))
                forgotten += 1
        else:
            kernel.map(*times, draw(st.integers(0, 1)), draw(st.sampled_from(SIZES)))
    kernel.note(moment_ns)
    return kernel, forgotten


@settings(max_examples=60, deadline=None)
@given(forgetful())
def test_few_faults_are_told_of_where_slots_were_forgotten_and_no_harm(made: tuple[Kernel, int]) -> None:
    kernel, forgotten = made
    judge = Judge(REVISIONS["6.10"], cpus=range(2))
    judge.state(machine(state_of(Pool(kernel.pool.address, kernel.pool.start, NSLABS, kernel.pool.nareas))))
    judge.feed([device(), *sorted(kernel.events, key=lambda event: event.exit_ns)])
    (last,) = kernel.states[-1][1]
    judge.state(machine(replace(last, begin_ns=SECOND_NS, end_ns=SECOND_NS + 1)))
    findings = judge.finish()
    assert findings.safety_violations == 0
    assert bool(forgotten) <= findings.disagree <= 4 * forgotten


def test_a_search_that_passes_over_the_slots_behind_the_last_area_is_told_of_like_any_other() -> None:
    """Of 133 slots in two areas the last one belongs to none, and a mapping may end in it."""
    pool = Pool(POOL, START, 133, 2)
    judge = Judge(REVISIONS["6.10"], cpus=range(2))
    judge.state(machine(state_of(pool)))
    judge.feed([device(), found(1000, 1100, 66, 60, cpu=1), found(1200, 1300, 0, 5, cpu=1)])
    assert judge.finish().disagree == 1
