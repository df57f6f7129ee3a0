"""A demand, replayed in other configurations: against the bounds, and against what real kernels counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, Cause, Limits
from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.sizing import simulate as module
from swiotlb_top.sizing.bounds import ceiling_of, floor_of
from swiotlb_top.sizing.configuration import LARGEST_NSLABS, SIZES_NSLABS, Configuration
from swiotlb_top.sizing.need import Need
from swiotlb_top.sizing.recordings import read
from swiotlb_top.sizing.simulate import Outcome, Patience, simulate
from tests.support.doctoring import FOUR_AREAS, GROWING, STALL
from tests.support.made_recordings import DISK, NEWEST, need

CARD = DISK + 1
WAIT_NS = 100


def static(nslabs: int, nareas: int = 1, revision: str = "6.10") -> Configuration:
    return Configuration.of(nslabs, nareas, False, REVISIONS[revision])


def dynamic(nslabs: int, nareas: int = 1) -> Configuration:
    return Configuration.of(nslabs, nareas, True, NEWEST)


def replayed(*needs: Need, on: Configuration) -> Outcome:
    return simulate(sorted(needs), on, growth_wait_ns=WAIT_NS)


# ---- configurations ---------------------------------------------------------------


def test_sizes_are_the_powers_of_two_from_1_mib_to_4_gib() -> None:
    assert [nslabs << 11 for nslabs in SIZES_NSLABS] == [1 << order for order in range(20, 33)]


def test_a_pool_has_no_more_areas_than_slot_sets() -> None:
    assert static(512, 8).command_line == "swiotlb=512,4"
    assert static(1024, 8).command_line == "swiotlb=1024,8"
    assert static(64, 8).nareas == 1


# ---- static pools -----------------------------------------------------------------


def test_what_finds_no_slots_fails_once_and_is_told_by_device_and_cause() -> None:
    outcome = replayed(need(0, 10, 128), need(1, 10, 128, dev=CARD), need(2, 10, 1), on=static(256))
    assert outcome.failures_of == Counter({DISK: 1})
    assert outcome.causes == {Cause.EXHAUSTED: 1}
    assert outcome.first_failure == "needs 1 slots, 0 of 256 are free"
    assert (outcome.high_water_slots, outcome.peak_slots) == (256, 257)


def test_slots_that_are_given_back_are_had_again() -> None:
    assert replayed(*(need(at, at + 1, 128) for at in range(0, 20, 2)), on=static(128)).failures == 0


def test_of_what_comes_and_goes_at_one_time_the_worst_is_taken() -> None:
    assert replayed(need(0, 5, 128), need(5, 9, 128), on=static(128)).failures == 1


@pytest.mark.parametrize("limit", ["_EXPLAINED", "_AREAS_EXPLAINED"])
def test_too_many_failures_are_counted_and_not_explained(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, limit, 2)
    outcome = replayed(need(0, 10, 128), *(need(at, 10, 1) for at in range(1, 6)), on=static(128))
    assert (outcome.failures, outcome.causes.total()) == (5, 2)


def test_what_takes_too_long_is_given_up_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AREAS_A_NEED", 0)
    monkeypatch.setattr(module, "_AREAS_AT_LEAST", 0)
    assert replayed(need(0, 10, 128), *(need(at, 10, 1) for at in range(1, 6)), on=static(128)).given_up


def test_what_one_simulation_of_a_demand_took_the_next_ones_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AREAS_AT_LEAST", 150)
    needs, patience = [need(at, at + 1, 1) for at in range(0, 60, 2)], Patience(0)
    given_up = [simulate(needs, static(128), patience=patience).given_up for _ in range(3)]
    assert given_up == [False, True, True]


# ---- dynamic pools ----------------------------------------------------------------


def test_a_full_dynamic_pool_grows_and_who_cannot_wait_has_a_pool_of_its_own() -> None:
    needs = [need(0, 500, 128), need(1, 500, 4), need(50, 500, 4), need(101, 500, 4)]
    outcome = replayed(*needs, on=dynamic(128))
    assert (outcome.failures, outcome.transient_pools, outcome.pools_added) == (0, 2, 1)
    assert outcome.longest_wait_ns == WAIT_NS
    assert outcome.memory_bytes == (128 + 2 * 4 + 128) * 2048


def test_a_transient_pools_memory_goes_with_its_mapping() -> None:
    outcome = replayed(need(0, 90, 128), need(1, 2, 4), need(3, 4, 4), on=dynamic(128))
    assert (outcome.transient_pools, outcome.memory_bytes) == (2, 132 * 2048)


def test_a_transient_pool_that_does_not_align_is_a_failure() -> None:
    odd = need(1, 5, 4, orig_addr=0x20_0800, limits=Limits(min_align_mask=0xFFF))
    outcome = replayed(need(0, 90, 128), odd, on=dynamic(128))
    assert outcome.causes == {Cause.MISALIGNED: 1}


def test_more_than_a_slot_set_is_refused_and_nothing_grows_for_it() -> None:
    outcome = replayed(need(0, 90, 129), on=dynamic(128))
    assert (outcome.causes, outcome.pools_added) == ({Cause.TOO_LARGE: 1}, 0)


# ---- spells -----------------------------------------------------------------------


def test_spells_in_which_nothing_can_fail_are_left_out_but_for_their_peak() -> None:
    needs = [need(0, 10, 100), need(20, 30, 128), need(21, 30, 128), need(40, 50, 1)]
    spells = ceiling_of(needs, 1, from_slot_sets=1).spells
    assert len(spells) == 2
    for nslabs, failures in ((128, 1), (256, 0)):
        all_, some = simulate(needs, static(nslabs)), simulate(needs, static(nslabs), spells)
        assert all_.failures == some.failures == failures
        assert all_.high_water_slots == some.high_water_slots


# ---- against the bounds -----------------------------------------------------------


lengths = st.sampled_from([1, 2, 4, 8, 31, 64, 65, 96, 128])
limits = st.sampled_from([Limits(), Limits(0xFFFF_FFFF), Limits(0xFFFF_FFFF, 0xFFF), Limits(0xFFFF, 0)])
made = st.builds(
    lambda begin, life, nslots, buffer, limited, cpu, align: (begin, life, nslots, buffer, limited, cpu, align),
    st.integers(0, 60),
    st.integers(0, 60),
    lengths,
    st.integers(1, 64).map(lambda slot: slot << 11),
    limits,
    st.integers(0, 3),
    st.sampled_from([0, 0, 0xFFF, 0x3FFF]),
)


@given(st.lists(made, min_size=1, max_size=40), st.sampled_from(sorted(REVISIONS)), st.sampled_from([1, 2, 4]))
def test_every_size_fails_below_the_floor_and_none_from_the_ceiling_on(
    drawn: list[tuple[int, int, int, int, Limits, int, int]], name: str, nareas: int
) -> None:
    revision = REVISIONS[name]
    needs = sorted(
        need(
            begin, begin + life, nslots, orig_addr=buffer, limits=limited, cpu=cpu,
            alloc_align_mask=align, revision=revision,
        )
        for begin, life, nslots, buffer, limited, cpu, align in drawn
    )  # fmt: skip
    floor, ceiling = floor_of(needs), ceiling_of(needs, nareas)
    for nslabs in (1 << order for order in range(7 + nareas.bit_length() - 1, 13)):
        failures = simulate(needs, static(nslabs, nareas, name)).failures
        assert failures or not floor.fails(nslabs)
        assert not (failures and ceiling.holds(nslabs))


# ---- against what real kernels counted -------------------------------------------


@pytest.mark.parametrize(
    ("recording", "kernels_own_slots"),
    [(GROWING, 2060), (FOUR_AREAS, 2060), (STALL, 129), (STALL.parent / "large.swtrace", 515)],
    ids=lambda value: getattr(value, "stem", value),
)
def test_the_high_water_is_the_kernels_own(recording: Path, kernels_own_slots: int) -> None:
    """``io_tlb_used_hiwater`` at the end of the recording, in the configuration that was recorded."""
    demand = read(recording)
    today = demand.today
    configuration = Configuration.of(today.default_nslabs, today.default_nareas, today.dynamic, demand.revision)
    outcome = simulate(demand.most, configuration, growth_wait_ns=demand.growth_wait_ns or WAIT_NS)
    assert outcome.high_water_slots == kernels_own_slots


def test_as_many_pools_are_added_as_the_kernel_added() -> None:
    demand = read(GROWING)
    assert simulate(demand.most, dynamic(512), growth_wait_ns=demand.growth_wait_ns).pools_added == 4


def test_growth_ends_where_no_command_line_asks_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_NSLABS", 256)
    needs = [need(at, 9999, 128) for at in range(0, 3000, 200)]
    outcome = replayed(*needs, on=dynamic(128))
    assert (outcome.failures, outcome.pools_added) == (0, 1)
    assert LARGEST_NSLABS % IO_TLB_SEGSIZE == 0
