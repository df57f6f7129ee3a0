"""What the kernel did, counted: from nothing but the events, and the same as the reference's own books."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.account import Account
from swiotlb_top.accounting.device import size_bucket
from swiotlb_top.accounting.durations import LATEST, Latencies
from swiotlb_top.accounting.snapshot import FINE_SCHEMA, LATENCY_BUCKETS_NS, UNKNOWN, Starved
from swiotlb_top.allocator import REVISIONS, Cause, Explanation, Limits, Pool, Request
from swiotlb_top.events import ENTRY_UNKNOWN, Direction, Event, Free, Gap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.records import RECORD, decode
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.trace import Item, Records, TraceReader
from tests.support.doctoring import FOUR_AREAS, GROWING, STALL
from tests.support.histories import (
    DEV,
    KERNEL,
    POOL,
    SLOT_BYTES,
    device,
    empty_pool,
    found,
    machine,
    mapped,
    released,
    searched_in_vain,
    state_of,
)


def account_of(*pools: Pool, transient_nslabs: int = 0) -> Account:
    account = Account(REVISIONS["6.10"])
    account.state(machine(*map(state_of, pools), transient_nslabs=transient_nslabs))
    account.feed([device()])
    return account


def padded(slot: int) -> Pool:
    """A pool with one mapping of 4 slots, of which 2 precede the buffer."""
    pool = empty_pool()
    pool.take(slot, Request(0x20_1000, 4 * SLOT_BYTES, 0x1FFF, Limits(0xFFFF_FFFF, 0x1FFF)), DEV)
    return pool


# ---- mappings ---------------------------------------------------------------


def test_a_search_that_got_slots_is_a_map_and_holds_them_until_their_release() -> None:
    account = account_of(empty_pool())
    account.feed([found(1000, 1100, 8, 3)])
    assert (account.maps, account.used_slots, account.pools[POOL].used_slots) == (1, 3, 3)
    account.feed([released(1200, 1300, 8, 3)])
    assert (account.unmaps, account.used_slots, account.pools[POOL].used_slots) == (1, 0, 0)
    assert account.used_hiwater_slots == 3


def test_a_slot_may_have_its_next_mapping_before_the_end_of_its_release_is_seen() -> None:
    account = account_of(empty_pool())
    account.feed([found(1000, 1100, 8, 3), found(1200, 1300, 8, 1, cpu=1), released(1150, 1400, 8)])
    assert (account.used_slots, account.pools[POOL].used_slots) == (1, 1)
    account.feed([released(1500, 1600, 8)])
    assert (account.used_slots, account.pools[POOL].used_slots) == (0, 0)


def test_a_release_that_does_not_name_its_pool_is_found_by_its_address() -> None:
    account = account_of(empty_pool())
    account.feed([found(1000, 1100, 8, 3), released(1200, 1300, 8, 3)._replace(pool=0)])
    assert (account.unmaps, account.used_slots, account.devices[DEV].held_slots) == (1, 0, 0)


def test_a_device_holds_the_slots_it_took_and_not_those_from_before() -> None:
    pool = empty_pool()
    pool.take(0, Request(0x20_0000, 4 * SLOT_BYTES, 0, Limits()), DEV)
    account = account_of(pool)
    account.feed([found(1000, 1100, 8, 3), found(1000, 1100, 16, 5), released(1200, 1300, 0, 4)])
    assert (account.devices[DEV].held_slots, account.used_slots) == (8, 8)
    account.feed([released(1200, 1300, 8, 3)])
    assert account.devices[DEV].held_slots == 5


def test_after_a_loss_nobody_knows_whose_the_slots_are() -> None:
    account = account_of(empty_pool())
    account.feed([found(1000, 1100, 8, 3)])
    account.gap(Gap(1200, 1300, 5, "ring buffer full"))
    account.state(machine(state_of(padded(8))))
    assert (account.used_slots, account.devices[DEV].held_slots) == (4, 0)


def test_until_the_next_state_nobody_knows_how_full_the_pools_are() -> None:
    account = account_of(padded(8))
    account.feed([found(1000, 1100, 16, 5)])
    account.gap(Gap(1200, 1300, 5, "ring buffer full"))
    account.feed([found(1400, 1500, 32, 3)])
    totals = account.totals()
    assert (totals.used_slots, totals.transient_slots, totals.pools) == (UNKNOWN, UNKNOWN, ())
    account.state(machine(state_of(padded(8))))
    totals = account.totals()
    assert (totals.used_slots, totals.transient_slots, len(totals.pools)) == (4, 0, 1)


def test_what_is_mapped_after_a_loss_is_held_by_itself_where_the_release_before_it_was_lost() -> None:
    account = account_of(empty_pool())
    account.feed([found(1000, 1100, 8, 3)])
    account.gap(Gap(1200, 1300, 1, "ring buffer full"))
    account.feed([found(1400, 1500, 8, 2), released(1600, 1700, 8, 2)])
    device = account.devices[DEV]
    assert device.held_slots == 0
    assert device.view().hold_p50_ns == 200


def test_how_it_stood_is_noted_when_a_map_fails() -> None:
    account = account_of(padded(8))
    account.feed([found(1000, 1100, 16, 5), searched_in_vain(1200, 1300, 128)])
    assert account.devices[DEV].view().starved == Starved(held_slots=5, used_slots=9, all_slots=512)
    account.feed([released(1400, 1500, 16, 5)])
    assert account.devices[DEV].view().starved == Starved(5, 9, 512)
    account.gap(Gap(1600, 1700, 5, "ring buffer full"))
    account.feed([searched_in_vain(1800, 1900, 128)])
    assert account.devices[DEV].view().starved is None


def test_a_device_with_an_allocator_of_its_own_takes_no_slots_of_these_pools() -> None:
    account = account_of(empty_pool())
    own = POOL + 0x800
    account.feed([device()._replace(mem=own), found(1000, 1100, 8, 3, pool=own), mapped(1000, 1100, 16, 2)])
    assert (account.maps, account.used_slots, account.transient_pools) == (2, 0, 0)
    assert account.pools[POOL].used_slots == 0


def test_a_device_is_known_to_have_its_own_allocator_even_if_it_came_before_the_state() -> None:
    account = Account(REVISIONS["6.10"])
    account.feed([device()._replace(mem=POOL + 0x800)])
    account.state(machine(state_of(empty_pool())))
    account.feed([found(1000, 1100, 8, 3)])
    assert (account.maps, account.used_slots) == (1, 0)


def test_sizes_are_counted_by_the_slots_asked_for_whether_they_were_had_or_not() -> None:
    account = account_of(empty_pool())
    account.feed([found(1000, 1100, 0, 1), found(1000, 1100, 8, 3), searched_in_vain(1400, 1500, 128)])
    device = account.devices[DEV].view()
    assert device.sizes == (1, 0, 1, 0, 0, 0, 0, 1, 0)
    assert device.asked_slots == 1 + 3 + 128


@pytest.mark.parametrize(
    ("nslots", "bucket"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (64, 6), (65, 7), (128, 7), (129, 8), (10**6, 8)]
)
def test_a_bucket_holds_sizes_up_to_its_bound(nslots: int, bucket: int) -> None:
    assert size_bucket(nslots) == bucket


@given(st.one_of(st.integers(1, 2**64 - 1), st.integers(0, 63).map(lambda n: 1 << n), st.integers(1, 10**10)))
def test_a_fine_bucket_is_the_one_that_its_seconds_fall_in(took_ns: int) -> None:
    latencies = Latencies()
    latencies.add(took_ns)
    ((bucket, maps),) = latencies.fine
    below_s, bound_s = (Decimal(2) ** (Decimal(number) / 2**FINE_SCHEMA) for number in (bucket - 1, bucket))
    assert maps == 1
    assert latencies.counts.index(1) == bisect_left(LATENCY_BUCKETS_NS, took_ns)
    assert below_s < Decimal(took_ns) / 10**9 <= bound_s


def test_fine_buckets_hold_the_maps_that_the_coarse_ones_do_and_what_took_no_time_is_in_the_first() -> None:
    latencies = Latencies()
    for took_ns in (0, 1, 256, 257, 1_953_125, 1_953_126):
        latencies.add(took_ns)
    assert latencies.fine == ((-239, 2), (-175, 2), (-72, 1), (-71, 1))
    assert latencies.counts == (3, 1, 0, 0, 0, 0, 0, 2, 0, 0)


def test_the_percentiles_are_of_the_latest_maps() -> None:
    account = account_of(empty_pool())
    account.feed([found(0, 50_000, 8)] * LATEST)
    assert account.devices[DEV].view().map_p50_ns == 50_000
    account.feed([found(0, took_ns, 8) for took_ns in (100, 300) for _ in range(LATEST // 2)])
    view = account.devices[DEV].view()
    assert (view.map_p50_ns, view.map_p99_ns) == (100, 300)


def test_where_no_entry_was_seen_there_are_no_percentiles() -> None:
    account = account_of(empty_pool())
    account.feed([found(ENTRY_UNKNOWN, 1100, 8)])
    view = account.devices[DEV].view()
    assert (view.map_p50_ns, view.map_p99_ns) == (UNKNOWN, UNKNOWN)


@pytest.mark.parametrize(
    ("direction", "to_device", "from_device"),
    [
        (Direction.TO_DEVICE, 4096, 0),
        (Direction.FROM_DEVICE, 0, 4096),
        (Direction.BIDIRECTIONAL, 4096, 4096),
        (Direction.UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_bytes_are_counted_by_direction_where_it_is_seen(
    direction: Direction, to_device: int, from_device: int
) -> None:
    account = account_of(empty_pool())
    account.feed([released(1200, 1300, 8, 2)._replace(direction=direction)])
    view = account.devices[DEV].view()
    assert (view.unmapped_bytes, view.to_device_bytes, view.from_device_bytes) == (4096, to_device, from_device)


@pytest.mark.parametrize(("size_bytes", "to_device"), [(4096, 0), (0, UNKNOWN)])
def test_what_is_freed_goes_to_no_device_and_without_a_size_nobody_knows(size_bytes: int, to_device: int) -> None:
    """``swiotlb_free()`` copies nothing; only up to some kernels does it tell a size."""
    account = account_of(empty_pool())
    account.feed([Free(1200, 1300, 0, DEV, 0, 0, size_bytes)])
    view = account.devices[DEV].view()
    assert (view.unmaps, view.unmapped_bytes, view.to_device_bytes) == (1, size_bytes, to_device)
    assert account.devices[DEV].totals().unmapped_bytes_by_direction[Direction.NONE] == size_bytes


def test_failures_alike_in_a_row_are_one_and_a_failure_nobody_judged_says_so() -> None:
    account = account_of(empty_pool())
    account.name(DeviceName(DEV, "0000:00:04.0", "virtio-pci"))
    vain = [searched_in_vain(exit_ns - 50, exit_ns, 128) for exit_ns in (1100, 1200, 1300)]
    account.feed(vain)
    for event, sentence in zip(vain, ("13 are free", "41 are free"), strict=False):
        account.failed(DEV, Explanation(Cause.EXHAUSTED, Cause.EXHAUSTED, sentence, 128, 1), event)
    latest, earlier = account.failures()
    assert (latest.time_ns, latest.times, latest.reference, latest.cause) == (1300, 1, "not asked", None)
    assert (earlier.time_ns, earlier.times, earlier.reference, earlier.cause) == (1200, 2, "agrees", Cause.EXHAUSTED)
    assert (earlier.device, earlier.needed_slots, earlier.sentence) == ("0000:00:04.0", 128, "41 are free")
    assert account.failures(disputed=vain[2])[0].reference == "disagrees"


def test_where_the_search_is_not_seen_the_map_says_the_same() -> None:
    account = account_of(empty_pool())
    account.feed([mapped(1000, 1100, 8, 3), released(1200, 1300, 8, 3), mapped(1400, 1500, -1)])
    assert (account.maps, account.unmaps, account.map_failures) == (1, 1, 1)
    assert (account.used_slots, account.used_hiwater_slots) == (0, 3)


def test_what_was_mapped_at_the_beginning_is_held_and_released() -> None:
    account = account_of(padded(8))
    assert account.used_slots == 4
    account.feed([released(1000, 1100, 10, 2)])
    assert account.used_slots == 0


def test_a_release_of_what_nobody_mapped_takes_nothing_away() -> None:
    account = account_of(empty_pool())
    account.feed([found(1000, 1100, 8), released(1200, 1300, 9)])
    assert (account.used_slots, account.unmaps) == (1, 1)


def test_bytes_are_of_the_mapping_without_what_alignment_added() -> None:
    account = account_of(empty_pool())
    account.feed([device()._replace(min_align_mask=0xFFF)])
    account.feed([found(1000, 1100, 0)._replace(orig_addr=0x20_0200, alloc_size_bytes=0x200 + 700)])
    account.feed([released(1200, 1300, 0)._replace(mapping_size_bytes=700)])
    (view,) = (of.view() for of in account.devices.values())
    assert (view.mapped_bytes, view.unmapped_bytes) == (700, 700)


# ---- devices ----------------------------------------------------------------


def test_a_device_has_its_name_its_totals_and_why_it_failed() -> None:
    account = account_of(empty_pool())
    account.name(DeviceName(DEV, "0000:00:04.0", "virtio-pci"))
    account.feed([found(1000, 1100, 0, 2), released(1200, 1300, 0, 2), *[searched_in_vain(1400, 1500, 128)] * 3])
    for cause, sentence in (
        (Cause.EXHAUSTED, "full"),
        (Cause.FRAGMENTED, "scattered"),
        (Cause.EXHAUSTED, "it is exhausted"),
    ):
        account.failed(DEV, Explanation(cause, cause, sentence, 128, 1))
    view = account.devices[DEV].view()
    assert (view.name, view.driver) == ("0000:00:04.0", "virtio-pci")
    assert (view.maps, view.unmaps, view.map_failures, view.held_maps) == (1, 1, 3, 0)
    assert (view.mapped_bytes, view.unmapped_bytes) == (2 * SLOT_BYTES, 2 * SLOT_BYTES)
    assert view.causes == ((Cause.EXHAUSTED, 2), (Cause.FRAGMENTED, 1))
    assert view.last_failure == "it is exhausted"


def test_a_device_without_a_name_is_told_by_its_address() -> None:
    account = account_of(empty_pool())
    account.feed([found(1000, 1100, 0, dev=0xFFFF_8880_0123_4567)])
    assert account.devices[0xFFFF_8880_0123_4567].view().name == "device 4567"


# ---- real recordings --------------------------------------------------------


@pytest.mark.parametrize("path", [GROWING, FOUR_AREAS, STALL], ids=lambda path: path.stem)
def test_it_agrees_with_the_reference_in_the_middle_of_things(path: Path) -> None:
    """Wherever the stream is cut: slots in use, pools and transient pools, from two sets of books."""
    items = list(TraceReader(path))
    pipeline = Pipeline(KERNEL)
    pipeline.state(next(item for item in items if isinstance(item, MemState)))
    world, account = pipeline.judge.model, pipeline.account
    assert world is not None
    most_used = 0
    for events in batched_events(items):
        pipeline.feed(events)
        pipeline.finish()
        assert account.used_slots == world.total_used
        assert account.nslabs == world.nslabs
        assert account.transient_slots == world.transient_nslabs
        most_used = max(most_used, account.used_slots)
    assert most_used > 0


def batched_events(items: list[Item]) -> Iterator[list[Event]]:
    """The first 4000 events of a recording, a few at a time."""
    packed = b"".join(item.data for item in items if isinstance(item, Records))
    events = list(decode(packed[: 4000 * RECORD.size]))
    for begin in range(0, len(events), 97):
        yield events[begin : begin + 97]


def test_a_device_at_a_reused_address_begins_anew_and_past_failures_keep_the_name_of_the_old_one() -> None:
    account = Account(REVISIONS["6.10"])
    account.state(machine())
    account.name(DeviceName(DEV, "0000:00:04.0", "virtio-pci"))
    account.feed([device(), found(100, 200, 0), searched_in_vain(300, 400), released(500, 600, 0)])
    account.name(DeviceName(DEV, "0000:00:05.0", "nvme"))
    account.feed([device(exit_ns=700), searched_in_vain(800, 900)])
    (shown,) = account.devices.values()
    assert (shown.name, shown.maps, shown.map_failures, shown.held_slots) == ("0000:00:05.0", 0, 1, 0)
    assert [failure.device for failure in account.failures()] == ["0000:00:05.0", "0000:00:04.0"]


def test_a_device_whose_name_could_not_be_read_any_more_is_the_same() -> None:
    account = Account(REVISIONS["6.10"])
    account.state(machine())
    account.name(DeviceName(DEV, "0000:00:04.0", "virtio-pci"))
    account.feed([device(), found(100, 200, 0)])
    account.name(DeviceName(DEV, "", ""))
    assert account.devices[DEV].maps == 1


# ---- a device that has a pool of its own ------------------------------------------


def test_how_many_slots_of_its_own_pool_a_restricted_device_holds_is_not_known() -> None:
    """Its unmaps name an address in a pool that no state shows: so its slots would only ever become more."""
    account = account_of(empty_pool())
    account.feed([device()._replace(mem=POOL + 8), found(1000, 1100, 8, 3), released(1200, 1300, 8, 3)])
    (view,) = (one.view() for one in account.devices.values())
    assert (view.maps, view.unmaps, view.held_maps, view.held_slots) == (1, 1, 0, UNKNOWN)
    assert account.used_slots == 0
