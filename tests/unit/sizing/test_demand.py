"""What a recording asked of swiotlb, whatever pool it was asked of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.allocator import REVISIONS
from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.events import Gap
from swiotlb_top.sizing import demand as module
from swiotlb_top.sizing.assumptions import Topic
from swiotlb_top.sizing.demand import Demand, DemandReader
from swiotlb_top.sizing.recordings import read
from tests.support.doctoring import FOUR_CPUS, GROWING, STALL
from tests.support.histories import (
    DEV,
    POOL,
    START,
    STRANGER,
    allocated,
    device,
    found,
    grown,
    machine,
    mapped,
    pool_with,
    released,
    state_of,
)
from tests.support.made_recordings import CALLED, NEWEST, demand, spans

TRACES = STALL.parent


def topics(of: Demand) -> set[Topic]:
    return {assumption.topic for assumption in of.assumptions}


def test_a_need_is_held_from_the_maps_return_to_the_releases_call() -> None:
    made = demand(machine(), device(), found(1000, 1010, 0, 3), released(2000, 2020, 0, 3))
    (one,) = made.least
    assert (one.asked_ns, one.had_ns, one.freeing_ns, one.freed_ns) == (1000, 1010, 2000, 2020)
    assert (one.dev, one.cpu, one.starts.nslots) == (DEV, 0, 3)


def test_maps_and_searches_are_paired_alike() -> None:
    searched = demand(machine(), device(), found(1000, 1010, 5), released(2000, 2020, 5))
    seen_as_maps = demand(machine(), device(), mapped(1000, 1010, 5), released(2000, 2020, 5, pool=0))
    assert spans(searched.least) == spans(seen_as_maps.least) == [(1010, 2000, 1)]


def test_where_two_hold_one_slot_by_the_records_the_older_is_released_first() -> None:
    """The release's record may come after that of the next map of the slot."""
    calls = (found(1000, 1010, 0), found(1020, 1025, 0), released(1015, 1030, 0), released(2000, 2010, 0))
    assert spans(demand(machine(), device(), *calls).least) == [(1010, 1015, 1), (1025, 2000, 1)]


def test_a_mapping_whose_release_was_not_seen_is_not_surely_held_once_another_has_its_slot() -> None:
    calls = (found(1000, 1010, 0), found(1500, 1510, 0), released(2000, 2010, 0))
    first, second = demand(machine(), device(), *calls).least
    assert (first.freeing_ns, first.freed_ns) == (1510, 2010)
    assert (second.had_ns, second.freeing_ns) == (1510, 2010)


def test_what_a_state_shows_that_was_read_while_it_changed_is_not_believed() -> None:
    made = demand(machine(state_of(pool_with(0)), settled=False), device(), found(1000, 1010, 1))
    assert spans(made.least) == [(1010, 1010, 1)]
    assert any(one.topic is Topic.BEFORE and one.may_need_more for one in made.assumptions)


def test_what_is_never_released_is_held_to_the_end() -> None:
    made = demand(machine(), device(), found(1000, 1010, 0), found(1100, 1110, 1), released(3000, 3010, 1))
    assert spans(made.least) == [(1010, 3010, 1), (1110, 3000, 1)]


def test_a_transient_pools_mapping_is_paired_too() -> None:
    new = POOL + 8
    calls = (allocated(1005, new, START << 1, 1), found(1000, 1010, 0, pool=new))
    made = demand(machine(can_grow=True), device(), *calls, released(2000, 2010, 0, pool=new, start=START << 1))
    assert spans(made.least) == [(1010, 2000, 1)]


def test_a_mapping_in_a_pool_whose_place_nobody_told_is_paired_by_the_pool() -> None:
    calls = (found(1000, 1010, 0, pool=POOL + 8), released(2000, 2010, 0, pool=POOL + 8, start=START << 1))
    assert spans(demand(machine(), device(), *calls).least) == [(1010, 2000, 1)]


def test_what_was_mapped_before_is_a_need_from_the_beginning() -> None:
    mem = machine(state_of(pool_with(0, 4)))
    made = demand(mem, device(), released(2000, 2010, 4))
    assert spans(made.least) == [(0, 2000, 1), (0, 2010, 1)]
    assert [made.name_of(dev) for dev in made.devices] == ["mapped before"]
    assert made.maps == 0
    assert Topic.BEFORE in topics(made)


def test_devices_with_a_pool_of_their_own_are_left_out() -> None:
    own = device(STRANGER)._replace(mem=POOL + 1)
    calls = (found(1000, 1010, 0, dev=STRANGER), found(1000, 1011, 1), released(1020, 1030, 0, dev=STRANGER))
    made = demand(machine(), device(), own, *calls)
    assert spans(made.least) == [(1011, 1030, 1)]
    assert Topic.ELSEWHERE in topics(made)


def test_what_is_not_known_is_assumed_aloud() -> None:
    made = demand(machine(), found(1000, 1010, 0, dev=STRANGER), released(1020, 1030, 9))
    assert topics(made) == {Topic.OPEN_LOOP, Topic.LIMITS, Topic.UNPAIRED}
    assert {one.topic for one in made.assumptions if one.may_need_more} == {Topic.LIMITS, Topic.UNPAIRED}


def test_at_a_gap_all_that_is_held_ends_and_the_next_state_says_what_there_is() -> None:
    reader = DemandReader(CALLED, NEWEST, NEWEST)
    reader.state(machine())
    reader.feed([device(), found(1000, 1010, 0)])
    reader.gap(Gap(1500, 1900, 3, "ring buffer full"))
    reader.state(machine(state_of(pool_with(0), 1950, 1960)))
    reader.feed([released(2500, 2510, 0)])
    made = reader.demand("6.12")
    assert spans(made.least) == [(1010, 1500, 1), (1950, 2500, 1)]
    assert any(one.topic is Topic.LOST and one.may_need_more for one in made.assumptions)


def test_the_longest_wait_for_a_new_pool_begins_with_the_first_search_that_found_none() -> None:
    calls = (allocated(1005, POOL + 8, START << 1, 1), found(1000, 1010, 0, pool=POOL + 8))
    made = demand(machine(can_grow=True), device(), *calls, grown(1500, 4010, POOL + 16, START << 2, 512))
    assert made.growth_wait_ns == 3000


def test_another_revision_is_asked_for_the_same_mapping() -> None:
    """Up to 6.9, less than a slot precedes the buffer, and the size is not rounded up with it."""
    search = found(1000, 1010, 8)._replace(orig_addr=0x20_1A00, alloc_size_bytes=16384, alloc_align_mask=0x3FFF)
    calls = (device(min_align_mask=0x3FFF), search)
    assert demand(machine(), *calls).least[0].request.alloc_size_bytes == 16384
    older = demand(machine(), *calls, revision=REVISIONS["6.6"])
    assert older.least[0].request.alloc_size_bytes == 16384 + 0x200


@pytest.mark.parametrize(
    "recording", [GROWING, FOUR_CPUS, TRACES / "debian-7.3.swtrace", TRACES / "debian-6.1.swtrace"]
)
def test_of_a_real_recording_each_map_is_a_need_and_each_release_is_paired(recording: Path) -> None:
    made = read(recording)
    assert made.is_one
    assert len(made.most) == made.maps
    assert topics(made) == {Topic.OPEN_LOOP}
    assert all(one.asked_ns <= one.had_ns <= one.freeing_ns <= one.freed_ns for one in made.most)


def test_a_kernel_that_does_not_show_which_it_is_is_assumed_to_be_the_likeliest() -> None:
    """The seed's order in 6.12: no kernel of that name has it."""
    seed = TRACES / "seed.swtrace"
    doubts = [one for one in read(seed).assumptions if one.topic is Topic.REVISION]
    assert [one.may_need_more for one in doubts] == [True]
    assert "6.10 in 6.6's order is assumed" in doubts[0].sentence
    assert topics(read(seed, "6.6")) == {Topic.OPEN_LOOP}


def test_a_stream_without_state_or_map_is_refused() -> None:
    with pytest.raises(UnreadableError, match="no state"):
        demand(None, device(), found(1000, 1010, 0))
    with pytest.raises(UnreadableError, match="no map"):
        demand(machine(), device())


def test_more_maps_than_can_be_held_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NEEDS", 2)
    with pytest.raises(UnreadableError, match="more than 2 maps"):
        demand(machine(), device(), *(found(1000 + at, 1010 + at, at) for at in range(3)))


def test_a_kernel_with_other_slot_sets_is_not_sized_by_those_that_are_known() -> None:
    pool = replace(state_of(pool_with(nslabs=512)), list_=tuple(256 - slot % 256 for slot in range(512)))
    with pytest.raises(CannotError, match="its slot sets have 256 slots"):
        demand(machine(pool), found(1000, 1100, 0))
