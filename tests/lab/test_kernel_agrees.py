"""What a real kernel did, recorded in the guest and replayed on the host: the reference says the same of all of it."""

from __future__ import annotations

import stat
from collections import Counter
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.allocator.order import Pools, each_offset_every_pool
from swiotlb_top.allocator.revision import REVISIONS, Revision
from swiotlb_top.errors import Exit
from swiotlb_top.events import ENTRY_UNKNOWN, Find, Unmap
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import replay as judged
from swiotlb_top.state import MemState
from swiotlb_top.trace import TraceReader
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.harness.vm import Result
from tests.lab.support.tool import Replayed, debugfs_counters, events, guest_shell, ran_well, replay, replay_as_text
from tests.support import doctoring

MEBIBYTE = 1 << 20

# Small reads for many operations, large ones so that an area is full now and then and another's turn comes.
BOTH_DISKS_AT_ONCE = """
    $tool record -o /results/busy.swtrace -- sh -c '
        for disk in vda nvme0n1; do
            dd if=/dev/$disk bs=1M count=16 iflag=direct of=/dev/null status=none &
            for _ in 1 2 3; do dd if=/dev/$disk bs=16k count=200 iflag=direct of=/dev/null status=none & done
        done
        wait'
"""


def assert_agrees_to_the_last_operation(replayed: Replayed) -> None:
    """On one CPU only interrupts make operations overlap: their order can be told, so nothing may be left open."""
    report = replayed.report
    assert report["first_disagreement"] is None
    assert report["compared"] == report["agree"] == replayed.operations > 0
    assert (report["disagree"], report["inconclusive"], report["safety_violations"]) == (0, 0, 0)
    assert (report["lost"], report["miscounts"], report["damage"]) == (0, [], "")
    assert (report["verdict"], replayed.status) == ("agree", Exit.OK)


# ---- one CPU, a pool that grows


@dataclass(frozen=True)
class Growing:
    """`record -- grow.sh` on a dynamic kernel, with debugfs before and after it."""

    ran: Result
    before: dict[str, int]
    after: dict[str, int]
    trace: Path
    replayed: Replayed


@pytest.fixture(scope="module")
def growing(lab: Lab) -> Growing:
    script = """
        debugfs
        $tool record -o /results/grow.swtrace -- sh $workloads/grow.sh || exit
        echo after
        debugfs
        $tool record -o /results/unaligned.swtrace -- python3 $workloads/unaligned.py nvme0n1 vda
    """
    ran = ran_well(lab.run(Machine(kernel="dynamic", swiotlb="512,force"), guest_shell(script)))
    before, after = ran.stdout.split("after\n")
    trace = ran.files / "grow.swtrace"
    return Growing(ran, debugfs_counters(before), debugfs_counters(after), trace, replay(trace))


def test_a_growing_pool_is_replayed_to_the_slot(growing: Growing) -> None:
    assert_agrees_to_the_last_operation(growing.replayed)
    assert growing.replayed.report["maps"] >= 50_000
    assert growing.replayed.report["pools_added"] >= 3
    assert growing.replayed.report["states_audited"] > 0


def test_the_report_names_the_guests_kernel_and_its_revision(growing: Growing) -> None:
    release = growing.replayed.report["kernel_release"]
    assert release.startswith("6.12.")
    assert growing.replayed.report["revision"] in REVISIONS


def test_a_recording_begins_and_ends_with_what_debugfs_says(growing: Growing) -> None:
    first = next(item for item in TraceReader(growing.trace) if isinstance(item, MemState))
    report = growing.replayed.report
    assert growing.before == {
        "io_tlb_nslabs": first.nslabs,
        "io_tlb_used": first.total_used,
        "io_tlb_used_hiwater": first.used_hiwater,
        "io_tlb_transient_nslabs": first.transient_nslabs,
    }
    after = {name: growing.after[name] for name in ("io_tlb_nslabs", "io_tlb_used", "io_tlb_transient_nslabs")}
    assert after == {
        "io_tlb_nslabs": report["nslabs"],
        "io_tlb_used": report["used_slots"],
        "io_tlb_transient_nslabs": report["transient_slots"],
    }
    assert growing.before["io_tlb_nslabs"] < growing.after["io_tlb_nslabs"]


def test_buffers_that_begin_anywhere_in_their_pages_are_replayed_to_the_slot(growing: Growing) -> None:
    replayed = replay(growing.ran.files / "unaligned.swtrace")
    assert_agrees_to_the_last_operation(replayed)
    assert replayed.operations > 1_000


def test_a_hundred_thousand_events_are_less_than_a_mebibyte_that_only_root_reads(growing: Growing) -> None:
    events = growing.replayed.report["events"]
    assert events >= 100_000
    assert growing.trace.stat().st_size * 100_000 < MEBIBYTE * events
    assert stat.S_IMODE(growing.trace.stat().st_mode) == 0o600


# ---- the same recording, with one thing made wrong


@pytest.fixture(scope="module")
def entries(growing: Growing) -> list[doctoring.Entry]:
    return doctoring.load(growing.trace)


def a_search(entries: list[doctoring.Entry]) -> int:
    """One in the middle of what the busiest pool gave: whichever that is, most of the traffic goes through it."""
    found = [entry for entry in entries if isinstance(entry, doctoring.Record) and entry.kind == Kind.FIND]
    (busiest, searches), *_ = Counter(record.pool for record in found if not record.failed).most_common(1)
    return doctoring.find(entries, Kind.FIND, lambda r: doctoring.succeeded(r) and r.pool == busiest, nth=searches // 2)


def one_slot_further(entries: list[doctoring.Entry]) -> tuple[list[doctoring.Entry], doctoring.Record]:
    at = a_search(entries)
    found = doctoring.record_at(entries, at)
    return doctoring.change(entries, at, result=found.result + 1), found


def in_the_wrong_pool(entries: list[doctoring.Entry]) -> tuple[list[doctoring.Entry], doctoring.Record]:
    """The slot is right, the pool is not but another that was added."""
    at = a_search(entries)
    found = doctoring.record_at(entries, at)
    added = (doctoring.record_at(entries, place).pool for place in doctoring.places(entries, Kind.GROW))
    return doctoring.change(entries, at, pool=next(pool for pool in added if pool != found.pool)), found


def without_an_unmap(entries: list[doctoring.Entry]) -> tuple[list[doctoring.Entry], None]:
    """What the kernel takes next in its place is what cannot be; which that is depends on the traffic."""
    at = a_search(entries)
    start = doctoring.pool_starts(entries)[doctoring.record_at(entries, at).pool]
    return doctoring.drop(entries, doctoring.release_of(entries, at, start)), None


@pytest.mark.parametrize("doctored", [one_slot_further, in_the_wrong_pool, without_an_unmap])
def test_one_thing_made_wrong_in_a_fresh_recording_is_found_and_named(
    entries: list[doctoring.Entry], doctored: Any, tmp_path: Path
) -> None:
    wrong, culprit = doctored(entries)
    status, page = replay_as_text(doctoring.save(wrong, tmp_path / "doctored.swtrace"))
    assert status == Exit.DISAGREE
    assert "verdict: DISAGREE" in page
    assert "first disagreement: operation " in page
    if culprit is not None:
        assert f"exit_ns={culprit.exit_ns}" in page


# ---- several areas: whose turn it is


@pytest.fixture(scope="module")
def four_areas(lab: Lab) -> Path:
    machine = Machine(kernel="dynamic", swiotlb="512,4,force")
    ran = ran_well(lab.run(machine, guest_shell(BOTH_DISKS_AT_ONCE)))
    return ran.files / "busy.swtrace"


def test_four_areas_are_searched_in_the_references_order(four_areas: Path) -> None:
    state = next(item for item in TraceReader(four_areas) if isinstance(item, MemState))
    assert [len(pool.areas) for pool in state.pools] == [4]
    assert_agrees_to_the_last_operation(replay(four_areas))


def test_the_areas_from_the_other_end_are_not_what_this_kernel_does(
    four_areas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(allocator: Pools, cpu: int) -> Any:
        return reversed(list(each_offset_every_pool(allocator, cpu)))

    other: Revision = replace(REVISIONS["6.10"], name="backwards", order=backwards)
    monkeypatch.setitem(REVISIONS, other.name, other)
    assert judged(four_areas, other.name).exit_code is Exit.DISAGREE


# ---- two CPUs


def overlapping(calls: list[Find | Unmap]) -> int:
    """How many were entered while an earlier one was under way, of those whose entry is known."""
    entered = sorted((call.entry_ns, call.exit_ns) for call in calls if call.entry_ns != ENTRY_UNKNOWN)
    latest_exit_ns = accumulate((exit_ns for _, exit_ns in entered), max)
    return sum(
        entry_ns <= busy_until_ns for busy_until_ns, (entry_ns, _) in zip(latest_exit_ns, entered[1:], strict=False)
    )


def test_two_cpus_at_once_never_disagree(lab: Lab) -> None:
    """Where operations overlap there may be no telling; there must be no false word. Of four: test_four_cpus.py."""
    machine = Machine(kernel="dynamic", cpus=2, swiotlb="512,force")
    ran = ran_well(lab.run(machine, guest_shell(BOTH_DISKS_AT_ONCE)))
    trace = ran.files / "busy.swtrace"
    calls = [event for event in events(trace) if isinstance(event, Find | Unmap)]
    assert len({call.cpu for call in calls}) > 1
    replayed = replay(trace)
    report = replayed.report
    print(f"{overlapping(calls)} of {len(calls)} overlap, {report['inconclusive_because']}")
    assert report["first_disagreement"] is None
    assert (report["disagree"], report["safety_violations"], report["miscounts"]) == (0, 0, [])
    assert report["agree"] >= replayed.operations * 9 // 10
    assert replayed.status in (Exit.OK, Exit.INCONCLUSIVE)
