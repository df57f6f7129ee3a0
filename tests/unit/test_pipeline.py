"""Account and judge side by side, and what views are shown of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.accounting.snapshot import VerdictView
from swiotlb_top.allocator import Cause, Pool
from swiotlb_top.cpus import Cpus
from swiotlb_top.errors import CannotError, UsageError
from swiotlb_top.events import Gap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import DeviceName, HookPlace, How
from tests.support.doctoring import GROWING, STALL
from tests.support.histories import (
    DEV,
    KERNEL,
    POOL,
    START,
    allocated,
    device,
    empty_pool,
    found,
    grown,
    machine,
    mapped,
    released,
    searched_in_vain,
    state_of,
)
from tests.support.machines import NOT_JUDGED

NEWER, NEWER_START = POOL + 0x100, START + (1 << 30)


def pipeline_with(*, can_grow: bool = False) -> Pipeline:
    pipeline = Pipeline(KERNEL)
    pipeline.state(machine(can_grow=can_grow))
    pipeline.feed([device()])
    return pipeline


# ---- which reference --------------------------------------------------------


def test_the_kernels_features_choose_the_revision() -> None:
    assert Pipeline(KERNEL).judge.revision.name == "6.10"


def test_a_revision_may_be_asked_for_by_name() -> None:
    assert Pipeline(KERNEL, "6.10 in 6.6's order").judge.revision.name == "6.10 in 6.6's order"


def test_an_unknown_revision_is_a_usage_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"there is no revision '2\.4'; known are: 6\.1, seed-v4"):
        Pipeline(KERNEL, "2.4")


@pytest.mark.parametrize(("machine", "page_size_bytes", "byte_order", "why"), NOT_JUDGED)
@pytest.mark.parametrize("revision", [None, "6.10"])
def test_a_machine_that_the_reference_is_not_true_of_is_not_judged_even_if_a_revision_is_forced(
    machine: str, page_size_bytes: int, byte_order: str, why: str, revision: str | None
) -> None:
    kernel = replace(KERNEL, machine=machine, page_size_bytes=page_size_bytes, byte_order=byte_order)
    with pytest.raises(CannotError, match=why):
        Pipeline(kernel, revision)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_little_endian_machines_with_pages_of_4_kib_are_judged(machine: str) -> None:
    kernel = replace(KERNEL, machine=machine, page_size_bytes=4096, byte_order="little")
    assert Pipeline(kernel).judge.revision.name == "6.10"


def test_a_search_that_moved_may_have_begun_on_any_possible_cpu_whatever_its_number() -> None:
    """CPUs 0, 2, 4 and 6 are possible: it began on CPU 6, in whose area it got its slot, and ended on CPU 0."""
    pipeline = Pipeline(replace(KERNEL, cpus=Cpus.parse("0,2,4,6")))
    pipeline.state(machine(state_of(Pool(POOL, START, 8 * 128, 8))))
    pipeline.feed([device(), found(100_000_000, 105_000_000, 6 * 128, 4, cpu=0)])
    assert (pipeline.finish().disagree, pipeline.judge.findings.agree) == (0, 1)


def test_a_kernel_no_reference_is_known_for_cannot_be_judged_unless_one_is_forced() -> None:
    older = replace(KERNEL, release="5.15.0", features=())
    with pytest.raises(
        CannotError,
        match=r"swiotlb of 5\.15\.0: it is older than 6\.0; swiotlb-top replay --revision takes one of: 6\.1,",
    ):
        Pipeline(older)
    assert Pipeline(older, "6.10").kernel.release == "5.15.0"


SEEN = HookPlace("alloc_pool", How.KPROBE, "kretprobe", "swiotlb_alloc_pool.isra.0")
ABSENT = HookPlace("alloc_pool", How.ABSENT, lost="transient pools are not seen before their first mapping")


@pytest.mark.parametrize(("hooks", "disagree"), [((ABSENT,), 0), ((SEEN,), 1), ((), 1)])
def test_where_new_pools_cannot_be_seen_an_unknown_one_is_no_fault(hooks: tuple[HookPlace, ...], disagree: int) -> None:
    pipeline = Pipeline(replace(KERNEL, hooks=hooks))
    pipeline.state(machine())
    pipeline.feed([device(), found(1000, 1100, 0, pool=NEWER)])
    assert pipeline.finish().disagree == disagree


# ---- what views are shown ---------------------------------------------------


def test_a_snapshot_has_the_counts_the_pools_newest_first_and_the_devices() -> None:
    pipeline = pipeline_with(can_grow=True)
    pipeline.name(DeviceName(DEV, "0000:00:04.0", "virtio-pci"))
    pipeline.feed([allocated(1000, NEWER, NEWER_START, 512), grown(900, 1100, NEWER, NEWER_START, 512)])
    pipeline.feed([found(1200, 1300, 0, 100, pool=NEWER), searched_in_vain(1400, 1500, 129)])
    pipeline.finish()
    shown = pipeline.snapshot(5_000, "replay", "a recording")
    assert (shown.time_ns, shown.source, shown.reason, shown.kernel_release) == (
        5_000,
        "replay",
        "a recording",
        "6.12.0",
    )
    assert (shown.nslabs, shown.used_slots, shown.used_hiwater_slots, shown.transient_slots) == (1024, 100, 100, 0)
    assert (shown.maps, shown.map_failures, shown.unmaps, shown.growths, shown.pools_added) == (1, 1, 0, 1, 1)
    assert [(pool.address, pool.used_slots, pool.longest_free_slots, pool.default) for pool in shown.pools] == [
        (NEWER, 100, 128, False),
        (POOL, 0, 128, True),
    ]
    (disk,) = shown.devices
    assert (disk.name, disk.driver, disk.causes) == ("0000:00:04.0", "virtio-pci", ((Cause.TOO_LARGE, 1),))
    assert shown.verdict == VerdictView("6.10", 2, 2, 0, 0, 0)


def test_transient_pools_are_shown_while_they_live() -> None:
    pipeline = Pipeline(KERNEL)
    pipeline.state(machine(state_of(empty_pool(128)), can_grow=True))
    pipeline.feed([device(), found(1000, 1100, 0, 128)])
    pipeline.feed([allocated(1250, NEWER, NEWER_START, 4), found(1200, 1300, 0, 4, pool=NEWER)])
    assert [pool.transient for pool in pipeline.snapshot(0, "", "").pools] == [False, True]
    pipeline.feed([released(1400, 1500, 0, 4, pool=NEWER, start=NEWER_START)])
    assert [pool.transient for pool in pipeline.snapshot(0, "", "").pools] == [False]


def test_a_snapshot_taken_is_not_changed_by_what_comes_after() -> None:
    pipeline = pipeline_with()
    pipeline.feed([found(1000, 1100, 0)])
    before = pipeline.snapshot(0, "", "")
    pipeline.feed([found(1200, 1300, 1)])
    assert (before.maps, before.pools[0].used_slots, before.devices[0].maps) == (1, 1, 1)


def test_before_any_state_a_snapshot_shows_what_was_counted() -> None:
    pipeline = Pipeline(KERNEL)
    pipeline.feed([device(), mapped(1000, 1100, -1)])
    shown = pipeline.snapshot(0, "", "")
    assert (shown.map_failures, shown.nslabs, shown.pools) == (1, 0, ())


def test_the_first_disagreement_is_shown_in_a_line() -> None:
    pipeline = pipeline_with()
    pipeline.feed([found(1000, 1100, 0, 2), found(1200, 1300, 1, 2)])
    pipeline.finish()
    verdict = pipeline.snapshot(0, "", "").verdict
    assert verdict is not None
    assert verdict.word == "disagree"
    assert verdict.first_disagreement == (
        "operation 2: 2 slots (4096 bytes) on CPU 0: slot 1 of pool 0x10000000; "
        "expected slot 2 of pool 0x10000000 (area 0) (overlap)"
    )


# ---- lost events ------------------------------------------------------------


def test_lost_events_are_counted_and_the_next_state_sets_the_account_right() -> None:
    pipeline = pipeline_with()
    pipeline.feed([found(1000, 1100, 0, 4)])
    pipeline.gap(Gap(1100, 1200, 3, "ring buffer full"))
    pipeline.state(machine(state_of(empty_pool(), 2000, 2010)))
    shown = pipeline.snapshot(0, "", "")
    assert (shown.lost, shown.used_slots, shown.used_hiwater_slots, shown.maps) == (3, 0, 4, 1)


def test_a_state_read_while_nothing_was_lost_leaves_the_account_alone() -> None:
    pipeline = pipeline_with()
    pipeline.feed([found(1000, 1100, 0, 4)])
    pipeline.state(machine(state_of(empty_pool(), 2000, 2010)))
    assert pipeline.account.used_slots == 4


# ---- why maps fail ----------------------------------------------------------


def test_every_failure_of_the_stalled_disk_is_explained() -> None:
    account = replay(STALL).pipeline.account
    (disk,) = (of.view() for of in account.devices.values())
    assert disk.map_failures > 500
    assert disk.causes == ((Cause.EXHAUSTED, disk.map_failures),)
    assert disk.last_failure == "needs 128 slots, 127 of 256 are free"


@pytest.mark.parametrize("path", [GROWING, STALL], ids=lambda path: path.stem)
def test_devices_have_their_names(path: Path) -> None:
    devices = [of.view() for of in replay(path).pipeline.account.devices.values()]
    assert all(of.driver and of.name.startswith("0000:00:") for of in devices)


@pytest.mark.parametrize("used_hiwater", [-1, 3])
def test_where_the_kernel_kept_no_high_water_it_is_said_that_it_is_the_recordings(used_hiwater: int) -> None:
    pipeline = Pipeline(KERNEL)
    pipeline.state(replace(machine(), used_hiwater=used_hiwater))
    notes = pipeline.snapshot(9, "replay", "").notes
    assert notes == (
        () if used_hiwater >= 0 else ("the kernel kept no high water: shown is the highest since the recording began",)
    )
