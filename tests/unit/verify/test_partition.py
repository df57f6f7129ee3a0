"""Cutting a stream: where nothing overlaps in time, and inside a cluster where nothing shares an area."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import NO_BOUNDARY, REVISIONS, Allocator, Limits, Pool, Request
from swiotlb_top.verify import partition
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import touched
from swiotlb_top.verify.operations.intervals import NEVER_NS
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch
from swiotlb_top.verify.partition import clusters, independent_groups
from tests.support.histories import DEV, POOL, SLOT_BYTES, START, found, grown, released

AREA_SLOTS: Final = 128
NAREAS: Final = 4
Interval = tuple[int, int]


def a_model(nareas: int = NAREAS, area_slots: int = AREA_SLOTS) -> tuple[Allocator, Pool]:
    pool = Pool(POOL, START, nareas * area_slots, nareas)
    return Allocator(REVISIONS["6.10"], [pool], pool.nslabs, nareas, can_grow=True, dynamic=True), pool


def take(times: Interval, pool: Pool, slot: int, cpu: int = 0) -> SlotSearch:
    request = Request(0, SLOT_BYTES, 2047, Limits(NO_BOUNDARY))
    return SlotSearch(found(*times, slot, cpu=cpu), *times, cpu, DEV, request, pool if slot >= 0 else None, slot)


def release(times: Interval, pool: Pool, area: int) -> Release:
    slot = area * pool.area_nslabs
    address = pool.start + slot * SLOT_BYTES
    return Release(released(*times, slot), *times, DEV, pool, address, 0, SLOT_BYTES)


def adding(times: Interval) -> AddPool:
    new = Pool(POOL + 8, START + (1 << 30), 512, NAREAS)
    return AddPool(grown(*times, new.address, new.start, 512, NAREAS), *times, new)


def overlap(one: Operation, other: Operation) -> bool:
    return one.entry_ns <= other.exit_ns and other.entry_ns <= one.exit_ns


# ---- in time ----------------------------------------------------------------


def releases(intervals: Sequence[Interval]) -> list[Operation]:
    """A release for each interval, sorted by exit."""
    _, pool = a_model()
    return sorted((release(times, pool, 0) for times in intervals), key=lambda op: op.exit_ns)


def components(operations: Sequence[Operation]) -> list[set[int]]:
    """Which are joined by overlaps, closed as they are; by what ends first."""
    groups: list[set[int]] = []
    for at, operation in enumerate(operations):
        joined = [group for group in groups if any(overlap(operation, operations[other]) for other in group)]
        groups = [group for group in groups if group not in joined] + [{at}.union(*joined)]
    return sorted(groups, key=max)


interval = st.tuples(st.integers(0, 60), st.integers(0, 6)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1]))
intervals = st.lists(interval, max_size=14)


def as_numbers(operations: list[Operation], before_ns: int) -> list[set[int]]:
    place = {operation: at for at, operation in enumerate(operations)}
    return [{place[operation] for operation in cluster} for cluster in clusters(operations, before_ns)]


@given(intervals)
def test_a_stream_is_cut_exactly_where_nothing_overlaps(drawn: list[Interval]) -> None:
    operations = releases(drawn)
    assert as_numbers(operations, NEVER_NS) == components(operations)


@given(intervals, st.integers(0, 70))
def test_only_what_is_over_is_given(drawn: list[Interval], before_ns: int) -> None:
    operations = releases(drawn)
    over = [group for group in components(operations) if max(operations[at].exit_ns for at in group) < before_ns]
    assert as_numbers(operations, before_ns) == over


def test_intervals_that_touch_overlap() -> None:
    assert as_numbers(releases([(1, 3), (3, 5), (6, 7)]), NEVER_NS) == [{0, 1}, {2}]


# ---- by area ----------------------------------------------------------------


def test_what_overlaps_in_other_areas_is_judged_apart() -> None:
    model, pool = a_model()
    cluster = [release((0, 10), pool, 0), release((5, 20), pool, 1), release((15, 30), pool, 0)]
    assert independent_groups(list(cluster), model) == [[op] for op in cluster]


def test_a_search_holds_the_areas_together_that_it_asked() -> None:
    model, pool = a_model()
    ahead, search, behind = (
        release((0, 10), pool, 0),
        take((5, 20), pool, 2 * AREA_SLOTS),
        release((15, 30), pool, 1),
    )
    elsewhere = release((8, 25), pool, 3)
    assert independent_groups([ahead, search, elsewhere, behind], model) == [[ahead, search, behind], [elsewhere]]


def test_many_in_a_row_that_one_behind_them_holds_together_are_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of those in the first area belongs to what came first in the second, and so does all between."""
    model, pool = a_model()
    passes: list[int] = []
    join = partition._Groups.join_the_reversed

    def counted(groups: partition._Groups, operations: list[Operation]) -> bool:
        passes.append(len(operations))
        return join(groups, operations)

    monkeypatch.setattr(partition._Groups, "join_the_reversed", counted)
    of_second = [take((0, 10), pool, AREA_SLOTS, cpu=1), take((5, 1050), pool, AREA_SLOTS + 1, cpu=1)]
    of_first = [take((20 + 10 * at, 25 + 10 * at), pool, at) for at in range(100)]
    of_both = take((1040, 1060), pool, AREA_SLOTS + 2)
    cluster: list[Operation] = sorted([*of_second, *of_first, of_both], key=lambda operation: operation.exit_ns)
    assert independent_groups(cluster, model) == [cluster]
    assert len(passes) <= 2 * 3  # areas, and rounds


def test_a_search_that_failed_asked_everywhere() -> None:
    model, pool = a_model()
    assert len(touched(take((0, 10), pool, -1), model)) == NAREAS


def test_a_search_that_may_have_begun_elsewhere_may_have_asked_more() -> None:
    model, pool = a_model()
    search = take((0, 10), pool, AREA_SLOTS, cpu=1)
    assert len(touched(search, model)) == 1
    search.other_cpus = (0, 2, 3)
    assert len(touched(search, model)) == NAREAS


def test_areas_that_are_no_whole_slot_sets_are_judged_together() -> None:
    """A mapping may begin in one and reach into the next."""
    model, pool = a_model(area_slots=160)
    cluster: list[Operation] = [release((0, 10), pool, 0), release((5, 20), pool, 3)]
    assert independent_groups(cluster, model) == [cluster]


def test_a_new_pool_concerns_every_search() -> None:
    model, pool = a_model()
    cluster: list[Operation] = [release((0, 10), pool, 0), adding((5, 20)), release((15, 30), pool, 3)]
    assert independent_groups(cluster, model) == [cluster]


@st.composite
def busy(draw: st.DrawFn) -> list[tuple[str, int, Interval]]:
    """Searches on any CPU that end in any area, and releases."""
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from(["release", "take", "fail"]), st.integers(0, 15), st.integers(0, 9)),
            min_size=1,
            max_size=12,
        )
    )
    return [
        (kind, what, (7 * at - long, 7 * at + draw(st.integers(0, 9)))) for at, (kind, what, long) in enumerate(drawn)
    ]


@given(busy())
def test_groups_can_be_judged_one_after_the_other(drawn: list[tuple[str, int, Interval]]) -> None:
    model, pool = a_model()
    operations: list[Operation] = []
    for kind, what, times in drawn:
        area, cpu = divmod(what, NAREAS)
        slot = area * AREA_SLOTS if kind == "take" else -1
        operations.append(release(times, pool, area) if kind == "release" else take(times, pool, slot, cpu))
    operations.sort(key=lambda op: op.exit_ns)
    for cluster in clusters(operations, NEVER_NS):
        groups = independent_groups(list(cluster), model)
        assert sorted(map(id, cluster)) == sorted(id(op) for group in groups for op in group)
        assert all(group == sorted(group, key=cluster.index) for group in groups)
        number = {op: at for at, group in enumerate(groups) for op in group}
        for one, other in combinations(cluster, 2):
            if touched(one, model) & touched(other, model):
                assert number[one] == number[other] if overlap(one, other) else number[one] <= number[other]
