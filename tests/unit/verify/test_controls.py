"""Negative controls: a real recording with one thing made wrong in it is found out, at that very event.

One fault is one report, as far as it goes: what a fault leaves behind in the kernel's later events
shows once more for each trace of it. How many that are was worked out by hand from what becomes of the
slots in the recording; it stands beside each number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from swiotlb_top.allocator import Hazard
from swiotlb_top.errors import Exit
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.state import PoolState
from swiotlb_top.verify import Divergence, Doubt
from tests.support.doctoring import (
    FOUR_AREAS,
    GROWING,
    STALL,
    Entry,
    Record,
    change,
    change_state,
    cut,
    drop,
    find,
    insert,
    load,
    overlap,
    places,
    pool_starts,
    record_at,
    release_of,
    save,
    states,
    succeeded,
    swap,
    with_no_call_under_way,
)

ENTRIES: Final = 6_000
"""Enough of the growing recording: all its pools, and two devices."""
NOTHING: Final = 0xFFFF_FFFF_FFFF_FFFF
UNHEARD_OF: Final = 0xFFFF_8880_DEAD_0000
Doctor = Callable[[list[Entry], int], list[Entry]]


@pytest.fixture(scope="module")
def growing() -> list[Entry]:
    return cut(load(GROWING), ENTRIES)


PLACES: Final = {"early": 7, "growing": 200, "grown": 1500, "another device": 2100}
"""Of the searches of a listed pool, which one is made wrong."""


@pytest.fixture(params=PLACES)
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def at(where: str, growing: list[Entry]) -> int:
    """Where a successful search of a listed pool stands."""
    listed = {record_at(growing, place).pool for place in places(growing, Kind.GROW)}
    return find(growing, Kind.FIND, lambda record: succeeded(record) and record.pool in listed, nth=PLACES[where])


def replayed(entries: list[Entry], directory: Path) -> ReplayReport:
    return replay(save(entries, directory / "doctored.swtrace"))


def first(report: ReplayReport) -> Divergence:
    assert report.findings.first is not None
    return report.findings.first


def release(entries: list[Entry], at: int) -> int:
    return release_of(entries, at, pool_starts(entries)[record_at(entries, at).pool])


def next_search(entries: list[Entry], at: int) -> int:
    return next(place for place in places(entries, Kind.FIND) if place > at)


def another_pool(entries: list[Entry], at: int) -> int:
    return next(address for address in pool_starts(entries) if address != record_at(entries, at).pool)


def one_slot_further(entries: list[Entry], at: int) -> list[Entry]:
    return change(entries, at, result=record_at(entries, at).result + 1)


def in_another_pool(entries: list[Entry], at: int) -> list[Entry]:
    return change(entries, at, pool=another_pool(entries, at))


def in_an_unknown_pool(entries: list[Entry], at: int) -> list[Entry]:
    return change(entries, at, pool=UNHEARD_OF)


def failed(entries: list[Entry], at: int) -> list[Entry]:
    return change(entries, at, result=NOTHING, pool=0)


FOUND_OUT_AT_ONCE: Final[dict[Doctor, dict[str, int]]] = {
    # Itself; a search that finds the slot behind it, which is in use now; the release of the slot that it had. Of
    # "grown", its 128 slots are found again, of which 127 were never released. Of "another device" the slot that it had
    # is passed over, too, and then found together with one that was never released.
    one_slot_further: {"early": 3, "growing": 3, "grown": 4, "another device": 5},
    # Itself; the next search, which passes over the slots it had; their release; and that the slots in the other pool
    # are found again, which were never released: but of "another device" that is beyond the end.
    in_another_pool: {"early": 4, "growing": 4, "grown": 4, "another device": 3},
    # Itself; the next search, which passes over the slots it had; their release.
    in_an_unknown_pool: dict.fromkeys(PLACES, 3),
    failed: dict.fromkeys(PLACES, 3),
}
"""What is made wrong, and for each place how many traces that leaves."""


def test_the_part_that_is_doctored_agrees(growing: list[Entry], tmp_path: Path) -> None:
    assert replayed(growing, tmp_path).exit_code is Exit.OK


@pytest.mark.parametrize("doctor", FOUND_OUT_AT_ONCE)
def test_a_search_that_ended_wrong_is_named(
    doctor: Doctor, growing: list[Entry], at: int, where: str, tmp_path: Path
) -> None:
    report = replayed(doctor(growing, at), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(growing, at).exit_ns
    assert f"slot {record_at(growing, at).result} of" in first(report).expected
    assert report.findings.disagree == FOUND_OUT_AT_ONCE[doctor][where]


def test_more_than_a_slot_set_is_never_given_out(growing: list[Entry], at: int, tmp_path: Path) -> None:
    report = replayed(change(growing, at, size=128 * 2048 + 1), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(growing, at).exit_ns
    assert first(report).expected == "no pool has room: failure"


def test_a_size_two_slots_larger_is_found_out_by_the_next_in_the_way(growing: list[Entry], tmp_path: Path) -> None:
    at = find(growing, Kind.FIND, lambda record: record.size == 4096, nth=100)
    report = replayed(change(growing, at, size=8192), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(growing, next_search(growing, at)).exit_ns
    assert [violation.hazard for violation in first(report).violations] == [Hazard.OVERLAP]
    assert report.findings.disagree == 2  # and the release, for whose slots the next search had to make room


def test_a_missing_map_is_found_out_by_the_searches_after_it_or_at_its_release(
    growing: list[Entry], at: int, tmp_path: Path
) -> None:
    report = replayed(drop(growing, at), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert record_at(growing, at).exit_ns < first(report).time_ns <= record_at(growing, release(growing, at)).exit_ns
    assert report.findings.disagree == 2  # the next search passes over its slots, and they are released


def test_a_missing_unmap_is_found_out_when_its_slots_are_given_out_again(
    growing: list[Entry], at: int, tmp_path: Path
) -> None:
    gone = release(growing, at)
    report = replayed(drop(growing, gone), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns > record_at(growing, gone).exit_ns
    assert Hazard.OVERLAP in {violation.hazard for violation in first(report).violations}
    assert report.findings.disagree == 1


def test_an_unmap_of_another_address_is_named_and_the_missing_release_shows_once_more(
    growing: list[Entry], at: int, tmp_path: Path
) -> None:
    place = release(growing, at)
    report = replayed(change(growing, place, address=record_at(growing, place).address + (1 << 20)), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(growing, place).exit_ns
    assert [violation.hazard for violation in first(report).violations] == [Hazard.NOT_MAPPED]
    assert report.findings.disagree == 2


def test_an_unmap_told_twice_is_named(growing: list[Entry], at: int, tmp_path: Path) -> None:
    place = release(growing, at)
    again = record_at(growing, place)._replace(exit_ns=record_at(growing, place).exit_ns + 1, duration_ns=0)
    report = replayed(insert(growing, place + 1, again), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == again.exit_ns
    assert report.findings.disagree == 1


def test_a_release_in_a_pool_nobody_announced_cannot_be_judged_and_its_slots_stay_taken(
    growing: list[Entry], at: int, tmp_path: Path
) -> None:
    report = replayed(change(growing, release(growing, at), pool=UNHEARD_OF), tmp_path)
    assert report.findings.doubts == {Doubt.OLDER_POOL: 1}
    assert (report.exit_code, report.findings.disagree) == (Exit.DISAGREE, 1)


# ---- order ------------------------------------------------------------------


@pytest.fixture
def pair(growing: list[Entry]) -> tuple[int, int]:
    """Two searches, one right after the other, in the same pool."""

    def followed(record: Record) -> bool:
        place = growing.index(record)
        after = growing[place + 1]
        return isinstance(after, Record) and (after.kind, after.pool) == (Kind.FIND, record.pool)

    one = find(growing, Kind.FIND, followed, nth=20)
    return one, one + 1


def test_two_searches_the_wrong_way_round_disagree(growing: list[Entry], pair: tuple[int, int], tmp_path: Path) -> None:
    report = replayed(swap(growing, *pair), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(growing, pair[0]).exit_ns
    assert report.findings.disagree == 3  # both, and the next, which goes on from the end of the one that was last


def test_two_searches_the_wrong_way_round_agree_where_they_overlap(
    growing: list[Entry], pair: tuple[int, int], tmp_path: Path
) -> None:
    report = replayed(overlap(swap(growing, *pair), *pair), tmp_path)
    assert report.exit_code is Exit.OK
    assert report.findings.agree == report.findings.compared > 0


# ---- pools and states -------------------------------------------------------


@pytest.mark.parametrize("nslabs", [128, 384, 640, 1024])
def test_growth_by_a_size_the_kernel_never_tries_is_named(growing: list[Entry], nslabs: int, tmp_path: Path) -> None:
    grown = find(growing, Kind.GROW)
    pool = record_at(growing, grown).pool
    allocated = find(growing, Kind.POOL_ALLOC, lambda record: record.pool == pool)
    report = replayed(change(change(growing, allocated, size=nslabs), grown, size=nslabs), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(growing, grown).exit_ns
    assert first(report).observed.endswith(f"of {nslabs} slots in 1 areas was added")


def test_a_pool_that_is_added_with_another_size_than_it_was_allocated_with_is_named(
    growing: list[Entry], tmp_path: Path
) -> None:
    grown = find(growing, Kind.GROW)
    report = replayed(change(growing, grown, size=256), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(growing, grown).exit_ns


def one_used_more(pool: PoolState) -> PoolState:
    area = pool.areas[0]
    return replace(pool, areas=(replace(area, used=area.used + 1), *pool.areas[1:]))


def searched_from_elsewhere(pool: PoolState) -> PoolState:
    area = pool.areas[0]
    return replace(pool, areas=(replace(area, index=area.index ^ 2), *pool.areas[1:]))


def one_slot_taken(pool: PoolState) -> PoolState:
    return replace(pool, list_=(0, *pool.list_[1:]))


@pytest.mark.parametrize(
    ("doctored", "words"),
    [
        (one_used_more, "area 0 with 0 used slots, the kernel has 1"),
        (searched_from_elsewhere, "area 0 to search next from"),
        (one_slot_taken, "128 free slots from slot 0 on, the kernel has 0"),
    ],
)
def test_a_last_state_that_is_not_the_references_is_named(
    doctored: Callable[[PoolState], PoolState], words: str, tmp_path: Path
) -> None:
    entries = with_no_call_under_way(load(FOUR_AREAS))
    report = replayed(change_state(entries, states(entries)[-1], doctored), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert report.findings.disagree == 1
    assert words in first(report).expected


@pytest.mark.parametrize("doctored", [searched_from_elsewhere, one_slot_taken])
def test_a_first_state_that_is_not_the_kernels_shows_in_what_follows(
    doctored: Callable[[PoolState], PoolState], growing: list[Entry], tmp_path: Path
) -> None:
    report = replayed(change_state(growing, states(growing)[0], doctored), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert report.findings.disagree == 1


# ---- a kernel that fails ----------------------------------------------------


def test_a_failed_map_where_there_was_room_is_named(tmp_path: Path) -> None:
    entries = with_no_call_under_way(load(STALL))
    at = find(entries, Kind.MAP, succeeded, nth=300)
    report = replayed(change(entries, at, result=NOTHING), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(entries, at).exit_ns
    assert first(report).observed.endswith("failed")
    assert report.findings.disagree == 3  # and the next map, which passes over the slot, and the unmap of it


def test_a_map_that_had_room_where_there_was_none_is_named(tmp_path: Path) -> None:
    entries = with_no_call_under_way(load(STALL))
    at = find(entries, Kind.MAP, lambda record: record.failed, nth=300)
    somewhere = record_at(entries, find(entries, Kind.MAP, succeeded)).result
    report = replayed(change(entries, at, result=somewhere), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(entries, at).exit_ns
    assert first(report).expected == "no pool has room: failure"
    # And the unmap of what had the slots, and the next map, which finds free what is in use by this one.
    assert report.findings.disagree == 3


def test_a_bounce_buffer_a_few_bytes_off_is_named(tmp_path: Path) -> None:
    entries = with_no_call_under_way(load(STALL))
    at = find(entries, Kind.MAP, succeeded, nth=300)
    report = replayed(change(entries, at, result=record_at(entries, at).result + 16), tmp_path)
    assert report.exit_code is Exit.DISAGREE
    assert first(report).time_ns == record_at(entries, at).exit_ns


def test_events_counted_otherwise_than_the_kernel_did_are_a_disagreement(tmp_path: Path) -> None:
    entries = with_no_call_under_way(load(STALL))
    # A failed map changes nothing but the count of failures.
    at = find(entries, Kind.MAP, lambda record: record.failed, nth=300)
    report = replayed(drop(entries, at), tmp_path)
    assert report.findings.disagree == 0
    assert report.exit_code is Exit.DISAGREE
    assert [miscount.split()[0] for miscount in report.miscounts] == ["map_failures"]
