"""Slots in use: what the kernel counts is shown only where it can be true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.account import Account
from swiotlb_top.accounting.in_use import NOT_KNOWN, SINCE_ATTACHING, SUMMED, InUse, OwnHiwater, of_counters, of_state
from swiotlb_top.accounting.snapshot import UNKNOWN
from swiotlb_top.allocator import REVISIONS
from swiotlb_top.kernel.debugfs import Counters
from swiotlb_top.sources.debugfs import DebugfsSource
from swiotlb_top.state import AreaState, MemState, PoolState
from tests.unit.sources.test_debugfs_counters import debugfs

WRAPPED = 2**64 - 1
"""One slot was given back more than was taken since the count was zeroed."""
POOL = PoolState(
    address=0x1000,
    start=0x7000_0000,
    nslabs=256,
    nareas=2,
    area_nslabs=128,
    transient=False,
    begin_ns=1,
    end_ns=2,
    areas=(AreaState(3, 0), AreaState(4, 0)),
    list_=(),
    orig_addr=(),
    alloc_size=(),
    pad_slots=(),
)
STATIC = MemState(
    address=0x1000,
    nslabs=256,
    can_grow=False,
    dynamic=False,
    default_nslabs=256,
    default_nareas=2,
    phys_limit=0,
    pools=(POOL,),
    total_used=7,
    used_hiwater=99,
    transient_nslabs=-1,
)
DYNAMIC = replace(STATIC, dynamic=True, can_grow=True, total_used=7 + 64, transient_nslabs=64)


def test_slots_in_use_are_those_of_the_areas_and_of_transient_pools() -> None:
    assert of_state(STATIC) == InUse(7, 99)
    assert of_state(DYNAMIC) == InUse(7 + 64, 99)


def test_a_count_of_another_moment_does_not_contradict_the_pools_beside_it() -> None:
    assert of_state(replace(STATIC, total_used=200)) == InUse(7, 99)


def test_where_the_kernel_keeps_no_count_the_areas_still_tell() -> None:
    assert of_state(replace(STATIC, total_used=-1, used_hiwater=-1)) == InUse(7, UNKNOWN)


def test_a_kernel_that_does_not_tell_of_its_transient_pools_is_asked_for_the_total() -> None:
    assert of_state(replace(DYNAMIC, total_used=71, transient_nslabs=-1)) == InUse(71, 99)


@pytest.mark.parametrize("counted", [257, 2**32 - 1, WRAPPED])
def test_a_count_above_all_slots_is_not_believed_and_neither_is_its_high_water(counted: int) -> None:
    assert of_state(replace(STATIC, total_used=counted)) == InUse(7, UNKNOWN, credible=False, note=SUMMED)
    lying = Counters(256, counted, 256, -1)
    assert of_counters(lying) == InUse(UNKNOWN, UNKNOWN, credible=False, note=NOT_KNOWN)


def test_a_count_that_was_wrong_once_is_never_believed_again() -> None:
    """It lacks as many slots as were in use when it was zeroed, whatever it reads."""
    assert of_state(STATIC, credible=False) == InUse(7, UNKNOWN, credible=False, note=SUMMED)
    plausible = Counters(256, 7, 99, -1)
    assert of_counters(plausible, credible=False) == InUse(UNKNOWN, UNKNOWN, credible=False, note=NOT_KNOWN)


def test_a_high_water_above_all_slots_is_not_known_unless_pools_came_and_went() -> None:
    assert of_state(replace(STATIC, used_hiwater=300)).used_hiwater_slots == UNKNOWN
    assert of_state(replace(DYNAMIC, used_hiwater=300)).used_hiwater_slots == 300
    assert of_state(replace(DYNAMIC, used_hiwater=WRAPPED)).used_hiwater_slots == UNKNOWN
    assert of_counters(Counters(256, 7, 300, -1)).used_hiwater_slots == UNKNOWN
    assert of_counters(Counters(256, 7, 300, 0)).used_hiwater_slots == 300


def test_a_growing_kernel_s_counts_of_different_moments_are_no_lie() -> None:
    """Transient pools come and go between the readings of their number and of the slots in use."""
    assert of_state(replace(DYNAMIC, total_used=321)).credible
    assert of_counters(Counters(256, 321, 321, 64)) == InUse(UNKNOWN, 321)
    assert of_counters(Counters(256, 320, 321, 64)) == InUse(320, 321)
    assert not of_counters(Counters(256, WRAPPED, WRAPPED, 64)).credible
    assert not of_state(replace(DYNAMIC, total_used=WRAPPED)).credible


@given(counted=st.integers(0, WRAPPED), hiwater=st.integers(0, WRAPPED), used=st.integers(0, 128))
def test_what_is_shown_is_never_above_what_there_is(counted: int, hiwater: int, used: int) -> None:
    pool = replace(POOL, areas=(AreaState(used, 0), AreaState(used, 0)))
    for shown in (
        of_state(replace(STATIC, pools=(pool,), total_used=counted, used_hiwater=hiwater)),
        of_counters(Counters(256, counted, hiwater, -1)),
    ):
        assert shown.used_slots <= 256
        assert shown.used_hiwater_slots <= 256
        assert shown.used_hiwater_slots == UNKNOWN or shown.used_hiwater_slots >= shown.used_slots


def test_debugfs_shows_a_wrapped_count_as_not_known_from_then_on_and_says_why(tmp_path: Path) -> None:
    root = debugfs(tmp_path, {"io_tlb_nslabs": 256, "io_tlb_used": WRAPPED, "io_tlb_used_hiwater": WRAPPED})
    source = DebugfsSource(root)
    for counted in (WRAPPED, 7):
        (root / "swiotlb/io_tlb_used").write_text(f"{counted}\n")
        shown = source.snapshot()
        assert (shown.nslabs, shown.used_slots, shown.used_hiwater_slots) == (256, UNKNOWN, UNKNOWN)
        assert shown.notes == (NOT_KNOWN,)


def test_an_account_begins_with_no_high_water_that_cannot_be() -> None:
    account = Account(REVISIONS["6.10"])
    account.state(replace(STATIC, pools=(), used_hiwater=WRAPPED, total_used=WRAPPED))
    assert account.used_hiwater_slots == 0


UNKEPT = InUse(100, UNKNOWN)


def test_where_the_kernel_keeps_no_high_water_it_is_what_the_probes_counted_and_what_was_there_before() -> None:
    hiwater = OwnHiwater()
    assert hiwater.instead(UNKEPT, 0, 100) == InUse(100, 100, note=SINCE_ATTACHING, hiwater_is_own=True)
    assert hiwater.instead(UNKEPT, 40, 90).used_hiwater_slots == 130


def test_it_stays_when_less_is_in_use_and_when_what_was_there_before_is_released() -> None:
    hiwater = OwnHiwater()
    hiwater.instead(UNKEPT, 40, 90)
    assert hiwater.instead(UNKEPT, 40, 0).used_hiwater_slots == 130
    assert hiwater.instead(UNKEPT, 50, 0).used_hiwater_slots == 130
    assert hiwater.instead(UNKEPT, 131, 0).used_hiwater_slots == 131


def test_it_is_never_below_what_is_in_use_now() -> None:
    """A call that the probes missed may have taken it."""
    assert OwnHiwater().instead(InUse(200, UNKNOWN), 40, 90).used_hiwater_slots == 200


def test_the_kernel_s_own_high_water_is_shown_where_there_is_one() -> None:
    assert OwnHiwater().instead(InUse(100, 150), 40, 90) == InUse(100, 150)
