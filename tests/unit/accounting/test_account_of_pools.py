"""What an account says of pools that come and go, and of what nobody can know."""

from __future__ import annotations

from swiotlb_top.accounting.account import Account
from swiotlb_top.allocator import REVISIONS
from swiotlb_top.events import PoolFree
from tests.support.histories import (
    DEV,
    POOL,
    START,
    allocated,
    empty_pool,
    found,
    grown,
    machine,
    mapped,
    pool_with,
    released,
    state_of,
)
from tests.unit.accounting.test_account import account_of

NEWER, NEWER_START = POOL + 0x100, START + (1 << 30)

# ---- pools ------------------------------------------------------------------


def test_a_pool_that_is_added_counts_once() -> None:
    account = account_of(empty_pool())
    account.feed([allocated(1000, NEWER, NEWER_START, 256), grown(900, 1100, NEWER, NEWER_START, 256)])
    account.feed([grown(1200, 1300, NEWER, NEWER_START, 256)])
    assert (account.pools_added, account.growths, account.nslabs) == (1, 2, 512 + 256)
    assert list(account.pools) == [POOL, NEWER]
    assert [pool.default for pool in account.pools.values()] == [True, False]


def test_slots_of_a_new_pool_that_was_not_yet_told_of_are_not_transient() -> None:
    """The pool is on the list before ``swiotlb_dyn_alloc()`` returns; another CPU may find it there."""
    account = account_of(empty_pool())
    account.feed([allocated(1000, NEWER, NEWER_START, 256), found(1020, 1050, 0, 10, pool=NEWER)])
    account.feed([found(1060, 1070, 10, 3, pool=NEWER), grown(900, 1100, NEWER, NEWER_START, 256)])
    assert (account.transient_pools, account.transient_slots, account.pools_added) == (0, 0, 1)
    assert (account.used_slots, account.nslabs) == (13, 512 + 256)
    account.feed([released(1200, 1300, 0, 10, pool=NEWER, start=NEWER_START)])
    account.feed([released(1200, 1300, 10, 3, pool=NEWER, start=NEWER_START)])
    assert (account.used_slots, account.transient_slots) == (0, 0)


def test_growth_that_got_no_memory_adds_nothing() -> None:
    account = account_of(empty_pool())
    account.feed([allocated(1000, 0, 0, 512), grown(900, 1100, POOL, START, 512)])
    assert (account.pools_added, account.growths, account.nslabs) == (0, 1, 512)


def test_a_transient_pool_lives_for_one_mapping() -> None:
    account = account_of(empty_pool())
    account.feed([allocated(1050, NEWER, NEWER_START, 4), found(1000, 1100, 0, 4, pool=NEWER)])
    assert (account.transient_pools, account.transient_slots, account.used_slots, account.nslabs) == (1, 4, 4, 512)
    (pool,) = account.transient
    assert (pool.start, pool.transient) == (NEWER_START, True)
    account.feed([released(1200, 1300, 0, 4, pool=NEWER, start=NEWER_START), PoolFree(1400, NEWER)])
    assert (account.transient_slots, account.used_slots, account.pools_freed) == (0, 0, 1)
    assert account.transient == {}


def test_a_map_into_a_transient_pool_is_found_by_its_address() -> None:
    account = account_of(empty_pool())
    account.feed([allocated(1050, NEWER, NEWER_START, 4), mapped(1000, 1100, 0, 4, start=NEWER_START)])
    assert (account.transient_pools, account.transient_slots, account.used_slots) == (1, 4, 4)


def test_transient_slots_from_before_count_as_used() -> None:
    account = account_of(empty_pool(), transient_nslabs=16)
    assert (account.transient_slots, account.used_slots, account.used_hiwater_slots) == (16, 16, 16)


def test_a_transient_pool_at_the_address_of_one_whose_unmap_has_not_returned_is_another() -> None:
    account = account_of(empty_pool())
    account.feed([allocated(1050, NEWER, NEWER_START, 4), found(1000, 1100, 0, 4, pool=NEWER)])
    again = NEWER_START + (1 << 30)
    account.feed([PoolFree(1250, NEWER), allocated(1270, NEWER, again, 8), found(1260, 1280, 0, 8, pool=NEWER)])
    assert (account.used_slots, account.transient_slots) == (12, 12)
    account.feed([released(1200, 1300, 0, 4, pool=NEWER, start=NEWER_START)])
    assert (account.used_slots, account.transient_slots, account.devices[DEV].held_slots) == (8, 8, 8)
    account.feed([released(1400, 1500, 0, 8, pool=NEWER, start=again)])
    assert (account.used_slots, account.transient_slots, account.devices[DEV].held_slots) == (0, 0, 0)


def test_a_new_pool_as_small_as_a_transient_one_is_listed_though_another_cpu_found_it_first() -> None:
    account = account_of(empty_pool())
    account.feed([allocated(1000, NEWER, NEWER_START, 128), found(1020, 1050, 0, 10, pool=NEWER)])
    account.feed([grown(900, 1100, NEWER, NEWER_START, 128)])
    assert (account.nslabs, account.used_slots, account.transient_slots) == (512 + 128, 10, 0)
    account.feed([released(1200, 1300, 0, 10, pool=NEWER, start=NEWER_START)])
    assert (account.nslabs, account.used_slots, account.transient_slots) == (512 + 128, 0, 0)


def test_a_call_that_was_under_way_when_the_state_was_read_is_counted_once() -> None:
    account = account_of(pool_with(8))
    account.feed([found(5, 1100, 8)])
    assert (account.used_slots, account.devices[DEV].held_slots, account.maps) == (1, 1, 1)
    account.feed([released(1200, 1300, 8)])
    assert (account.used_slots, account.devices[DEV].held_slots) == (0, 0)


# ---- what nobody can know ---------------------------------------------------


def test_the_end_of_a_transient_mapping_from_before_leaves_open_how_many_slots_are_used() -> None:
    account = account_of(empty_pool(), transient_nslabs=16)
    assert account.sure
    account.feed([released(1200, 1300, 0, 16, pool=NEWER, start=NEWER_START)])
    assert not account.sure


def test_a_state_that_changed_while_it_was_read_is_shown_but_not_counted_on_until_a_better_one_comes() -> None:
    account = Account(REVISIONS["6.10"])
    account.state(machine(state_of(pool_with(8)), settled=False))
    assert (account.nslabs, account.used_slots, account.sure) == (512, 1, False)
    account.state(machine(state_of(pool_with(8, 9))))
    assert (account.used_slots, account.sure) == (2, True)


def test_a_padded_mapping_of_a_device_that_never_introduced_itself_is_found_by_any_of_its_slots() -> None:
    account = Account(REVISIONS["6.10"])
    account.state(machine(state_of(empty_pool())))
    account.feed([found(1000, 1100, 8, 4), released(1200, 1300, 10, 2)])
    assert account.used_slots == 0
