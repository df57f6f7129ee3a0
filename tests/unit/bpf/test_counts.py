"""What the BPF programs count and record, run in this process: each call once, each device for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.events import Device, Find, PoolAlloc, Unmap
from swiotlb_top.probes.compile.flags import device_banks, device_table_bytes
from swiotlb_top.probes.read.program import Mode
from tests.support.bpf_in_userspace import POOL_START, BpfInUserspace

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def recorder(tmp_path: Path) -> BpfInUserspace:
    return BpfInUserspace(tmp_path, spares=True)


def test_a_call_is_counted_and_recorded_once_though_its_spare_runs_too(recorder: BpfInUserspace) -> None:
    dev = recorder.device()
    recorder.found(dev, 4096)
    assert (recorder.totals()[dev].maps, recorder.totals()[dev].requested_slots) == (1, 2)
    assert [type(event) for event in recorder.events()] == [Device, Find]
    assert recorder.spared_calls() == 0


@pytest.mark.parametrize("transient", [True, False])
def test_a_search_tells_of_its_transient_pool_as_no_probe_saw_it_being_made(tmp_path: Path, transient: bool) -> None:
    """Without kprobes nothing can hook the ``swiotlb_alloc_pool.constprop.0`` of this kernel."""
    recorder = BpfInUserspace(tmp_path, spares=False)
    frame = recorder.search(recorder.device(), transient=transient)
    for kind in ("kfunc", "kretfunc"):
        recorder.run(f"{kind}__swiotlb_find_slots", frame)
    _, *made, found = recorder.events()
    assert isinstance(found, Find)
    assert [(type(pool), pool.start, pool.pool) for pool in made if isinstance(pool, PoolAlloc)] == (
        [(PoolAlloc, POOL_START, found.pool)] if transient else []
    )


def test_of_a_call_that_interrupts_a_program_the_spare_tells(recorder: BpfInUserspace) -> None:
    """The kernel skips the program that runs already; the spare behind it runs."""
    dev = recorder.device()
    frame = recorder.search(dev)
    recorder.run("kfunc__swiotlb_find_slots", frame)
    recorder.interrupt_at_the_next_clock(lambda: recorder.found(dev, order=("spare",)))
    recorder.run("kretfunc__swiotlb_find_slots", frame)
    recorder.run("spare__swiotlb_find_slots", frame)
    assert recorder.totals()[dev].maps == 2
    assert recorder.spared_calls() == 1
    assert sum(isinstance(event, Find) for event in recorder.events()) == 2


def test_nothing_comes_between_what_a_program_adds_where_its_spare_adds_to_the_same(recorder: BpfInUserspace) -> None:
    """Else the interrupt's addition would be undone by the one that it came between."""
    dev = recorder.device()
    recorder.found(dev)
    before = recorder.table().tolist()
    seen = recorder.added_at_once()
    recorder.found(dev, 4096)
    changed = [place for place, (was, now) in enumerate(zip(before, recorder.table(), strict=True)) if was != now]
    assert len(changed) == len(("maps", "mapped_bytes", "requests", "requested_slots"))
    first = recorder.first_word()
    assert {first + 8 * place for place in changed} <= recorder.added_at_once()
    assert seen


def test_a_kernel_that_runs_spares_first_tells_of_more_calls_than_it_skipped(recorder: BpfInUserspace) -> None:
    dev = recorder.device()
    for _ in range(3):
        recorder.found(dev, order=("spare", "kretfunc"))
    assert recorder.totals()[dev].maps == 6
    assert recorder.spared_calls() == 3


def test_a_call_is_under_way_from_its_entry_to_its_return_on_whichever_cpu(recorder: BpfInUserspace) -> None:
    frame = recorder.search(recorder.device())
    recorder.run("kfunc__swiotlb_find_slots", frame)
    entered_ns = recorder.now_ns()
    recorder.found(recorder.device())
    assert recorder.none_under_way_before() == entered_ns < recorder.now_ns()
    recorder.on_cpu(1)
    recorder.run("kretfunc__swiotlb_find_slots", frame)
    assert recorder.none_under_way_before() == recorder.now_ns()


@pytest.mark.parametrize("depth", [1, 7, 8, 30])
def test_a_call_whose_place_others_took_is_under_way_until_it_returns(recorder: BpfInUserspace, depth: int) -> None:
    dev = recorder.device()
    frames = [recorder.search(dev) for _ in range(1 + depth)]
    entered_ns = []
    for frame in frames:
        recorder.run("kfunc__swiotlb_find_slots", frame)
        entered_ns.append(recorder.now_ns())
    assert recorder.none_under_way_before() == entered_ns[0]
    for frame, next_ns in zip(frames, [*entered_ns[1:], None], strict=True):
        recorder.run("kretfunc__swiotlb_find_slots", frame)
        recorder.run("spare__swiotlb_find_slots", frame)
        assert recorder.none_under_way_before() == (next_ns or recorder.now_ns())


@pytest.mark.parametrize("skipped", ["", "kretfunc", "spare"])
def test_calls_that_change_their_cpu_time_and_again_leave_nothing_under_way(
    recorder: BpfInUserspace, skipped: str
) -> None:
    """Each leaves its entry where it began, and the next of that task, with the same frame, may return there."""
    dev = recorder.device()
    frame = recorder.search(dev)
    for begins, ends in [(1, 0), (0, 1), (1, 1), (1, 2), (2, 1), (0, 0), (0, 1), (1, 0)]:
        recorder.on_cpu(begins)
        recorder.run("kfunc__swiotlb_find_slots", frame)
        entered_ns = recorder.now_ns()
        assert recorder.none_under_way_before() == entered_ns
        recorder.on_cpu(ends)
        for kind in ("kretfunc", "spare"):
            if kind != skipped:
                recorder.run(f"{kind}__swiotlb_find_slots", frame)
        told = [event for event in recorder.events() if isinstance(event, Find)]
        if begins == ends or skipped != "kretfunc":
            assert (told[-1].entry_ns == entered_ns) == (not told[-1].migrated) == (begins == ends)
        assert recorder.none_under_way_before() == recorder.now_ns()


def test_a_call_that_came_and_went_before_anything_is_recorded_is_not_left_under_way(
    recorder: BpfInUserspace,
) -> None:
    """Entries are probed before records are wanted: it takes a while until all are."""
    recorder.set_mode(Mode.COUNT)
    recorder.found(recorder.device())
    recorder.set_mode(Mode.RECORD)
    assert recorder.none_under_way_before() == recorder.now_ns()


def test_noting_keeps_entries_and_counts_and_records_nothing(recorder: BpfInUserspace) -> None:
    recorder.set_mode(Mode.NOTE)
    dev = recorder.device()
    frame = recorder.search(dev)
    recorder.run("kfunc__swiotlb_find_slots", frame)
    entered_ns = recorder.now_ns()
    recorder.found(dev)
    assert recorder.none_under_way_before() == entered_ns
    for kind in ("kretfunc", "spare"):
        recorder.run(f"{kind}__swiotlb_find_slots", frame)
    assert recorder.none_under_way_before() == recorder.now_ns()
    assert (recorder.totals()[dev].maps, recorder.events()) == (2, [])


def test_the_record_of_a_call_that_was_noted_says_when_it_began(recorder: BpfInUserspace) -> None:
    recorder.set_mode(Mode.NOTE)
    frame = recorder.search(recorder.device())
    recorder.run("kfunc__swiotlb_find_slots", frame)
    entered_ns = recorder.now_ns()
    recorder.set_mode(Mode.RECORD)
    for kind in ("kretfunc", "spare"):
        recorder.run(f"{kind}__swiotlb_find_slots", frame)
    (told,) = (event for event in recorder.events() if isinstance(event, Find))
    assert (told.entry_ns, told.migrated) == (entered_ns, False)


def test_limits_that_cannot_be_read_are_not_told_as_none_but_when_they_can_be_read(recorder: BpfInUserspace) -> None:
    parameters = recorder.parameters(min_align_mask=4095)
    dev = recorder.device(dma_parms=parameters)
    recorder.make_unreadable(parameters + recorder.layout.at("device_dma_parameters", "min_align_mask"))
    recorder.found(dev)
    assert [type(event) for event in recorder.events()] == [Find]
    recorder.make_unreadable(0)
    recorder.found(dev)
    (told,) = (event for event in recorder.events() if isinstance(event, Device))
    assert (told.dev, told.min_align_mask) == (dev, 4095)


@pytest.mark.parametrize("cpus", [2, 300])
def test_a_device_where_another_was_begins_anew_and_is_known_by_when_it_was_counted_first(
    tmp_path: Path, cpus: int
) -> None:
    bpf = BpfInUserspace(tmp_path, spares=False, cpus=cpus)
    bpf.set_mode(Mode.COUNT)
    dev = bpf.device()
    for cpu in (0, cpus - 1):
        bpf.on_cpu(cpu)
        bpf.found(dev, order=("kretfunc",))
    old = bpf.totals()[dev]
    bpf.found(dev, order=("kretfunc",))
    assert bpf.totals()[dev].since_ns == old.since_ns > 0
    bpf.initialised(dev)
    assert dev not in bpf.totals()
    bpf.found(dev, order=("kretfunc",))
    new = bpf.totals()[dev]
    assert (old.maps, new.maps) == (2, 1)
    assert new.since_ns > old.since_ns
    assert bpf.departed() == {"ended": 1, "maps": old.maps + 1, "map_failures": 0, "unmaps": 0, "begun": 1}


def test_cpus_that_share_a_bank_add_at_once(tmp_path: Path) -> None:
    bpf = BpfInUserspace(tmp_path, spares=False, cpus=300)
    bpf.set_mode(Mode.COUNT)
    dev = bpf.device()
    for cpu in (1, 1 + device_banks(300)):
        bpf.on_cpu(cpu)
        bpf.found(dev, order=("kretfunc",))
    assert sum(map(bool, bpf.table()[::24].tolist())) == 1
    assert bpf.totals()[dev] == DeviceTotals(
        maps=2,
        mapped_bytes=4096,
        requests=(2, *[0] * 8),
        requested_slots=2,
        since_ns=bpf.totals()[dev].since_ns,
        held_slots=1,
        most_slots=1,
    )
    assert bpf.added_at_once()


@pytest.mark.parametrize(
    ("cpus", "banks", "table_bytes"),
    [
        (1, 1, 96 * KIB),
        (6, 8, 768 * KIB),
        (8, 8, 768 * KIB),
        (128, 128, 12 * MIB),
        (256, 128, 12 * MIB),
        (1024, 128, 12 * MIB),
        (4096, 128, 12 * MIB),
        (8192, 128, 12 * MIB),
    ],
)
def test_the_table_of_devices_fits_any_machine(cpus: int, banks: int, table_bytes: int) -> None:
    assert (device_banks(cpus), device_table_bytes(cpus)) == (banks, table_bytes)


# ---- slots that the device cannot reach ------------------------------------------

SKIP_CPU_SYNC = 1 << 5
REACH = 0xFFFF_FFFF


def given_back(recorder: BpfInUserspace, dev: int, attrs: int = SKIP_CPU_SYNC, size_bytes: int = 4096) -> None:
    """An unmap of what ends at 4 GiB, or behind it."""
    frame = recorder.frame(dev, (1 << 32) - 2048, size_bytes, 1, attrs, 0x1234)
    for kind in ("kfunc", "kretfunc", "spare"):
        recorder.run(f"{kind}____swiotlb_tbl_unmap_single", frame)


def failures(recorder: BpfInUserspace, dev: int) -> tuple[int, int, list[bool]]:
    """Unmaps, failed maps, and of each unmap's record whether it says so."""
    totals = recorder.totals()[dev]
    told = [event.unreachable for event in recorder.events() if isinstance(event, Unmap)]
    return totals.unmaps, totals.map_failures, told


def test_what_a_map_gives_back_because_the_device_cannot_reach_it_is_a_failed_map(recorder: BpfInUserspace) -> None:
    dev = recorder.device(dma_mask=recorder.word(REACH))
    given_back(recorder, dev)
    assert failures(recorder, dev) == (1, 1, [True])


def test_the_bus_may_reach_less_than_the_device(recorder: BpfInUserspace) -> None:
    dev = recorder.device(dma_mask=recorder.word((1 << 64) - 1), bus_dma_limit=REACH)
    given_back(recorder, dev)
    assert failures(recorder, dev) == (1, 1, [True])


@pytest.mark.parametrize("other", ["iommu_group", "dma_range_map"])
def test_of_a_device_that_is_not_given_physical_addresses_nothing_is_claimed(
    recorder: BpfInUserspace, other: str
) -> None:
    dev = recorder.device(dma_mask=recorder.word(REACH), **{other: 0x1234})
    given_back(recorder, dev)
    assert failures(recorder, dev) == (1, 0, [False])


def test_an_unmap_within_reach_or_that_syncs_is_a_drivers(recorder: BpfInUserspace) -> None:
    dev = recorder.device(dma_mask=recorder.word(REACH))
    given_back(recorder, dev, size_bytes=2048)
    given_back(recorder, dev, attrs=0)
    assert failures(recorder, dev) == (2, 0, [False, False])
