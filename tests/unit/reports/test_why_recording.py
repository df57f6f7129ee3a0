"""``swiotlb-top why RECORDING``: why maps failed, how it stood then, and what would have avoided it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.accounting import onlooker
from swiotlb_top.accounting.scene import HolderThen
from swiotlb_top.allocator import REVISIONS, Allocator, Cause, Limits, Pool, Request, Revision
from swiotlb_top.allocator.fitting import largest_fitting_bytes
from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from swiotlb_top.events import Event
from swiotlb_top.reports import avoided
from swiotlb_top.reports import refused as module
from swiotlb_top.reports.avoided import Change
from swiotlb_top.reports.refused import refused
from swiotlb_top.reports.replay import replay
from swiotlb_top.reports.why_recording import WhyRecordingReport, why_recording
from swiotlb_top.trace import TraceReader, TraceWriter
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_CPUS, GROWING, STALL
from tests.support.histories import DEV, device, found, machine, released, searched_in_vain
from tests.support.packed import packed

UNALIGNED = STALL.parent / "unaligned.swtrace"
OLD_STALL = STALL.parent / "debian-6.1-stall.swtrace"
EMPTY = STALL.parent / "format-1.swtrace"

report_on = cache(why_recording)


def made(path: Path, *events: Event) -> Path:
    """A recording of a static pool of 512 slots, of a kernel like the stalled one."""
    with TraceWriter(path, TraceReader(STALL).header) as trace:
        trace.state(replace(machine(), dynamic=False, can_grow=False))
        trace.records(packed([device(), *events]))
        trace.end({}, 10_000, 0)
    return path


def full_and_then(path: Path, *nslots: int) -> Path:
    """512 slots are in use, and then maps of so many fail."""
    held = [found(1000 + 10 * at, 1001 + 10 * at, 128 * at, 128) for at in range(4)]
    failing = [searched_in_vain(2000 + 10 * at, 2001 + 10 * at, slots) for at, slots in enumerate(nslots)]
    return made(path, *held, *failing, *(released(3000 + at, 3001 + at, 128 * at, 128) for at in range(4)))


# ---- how it stood ------------------------------------------------------------------


def test_the_first_failure_of_the_stalled_disk() -> None:
    result = refused(STALL)
    ((kind, first),) = result.firsts.items()
    assert (kind.cause, result.counts[kind], result.unexplained) == (Cause.EXHAUSTED, 521, 0)
    assert (first.size_bytes, first.cpu, first.free_slots) == (262_144, 0, 127)
    assert first.explanation.sentence == "needs 128 slots, 127 of 256 are free"
    assert [pool[:6] for pool in first.pools] == [(0x3E700000, "default", 256, 1, 129, 127)]
    assert first.holders == (HolderThen(kind.dev, 129, 2),)


def test_the_largest_that_would_have_fitted_is_the_longest_run_in_whole_pages() -> None:
    """127 slots in a row are free: 254 KiB."""
    (first,) = refused(STALL).firsts.values()
    assert first.largest_fitting_bytes == 252 << 10


def test_where_no_run_is_as_long_as_a_page_none_would_have_fitted() -> None:
    (first,) = refused(UNALIGNED).firsts.values()
    assert (first.explanation.longest_free_slots, first.largest_fitting_bytes) == (1, 0)


@pytest.mark.parametrize("path", [STALL, UNALIGNED, OLD_STALL, FOUR_CPUS], ids=lambda path: path.stem)
def test_to_look_at_the_reference_does_not_disturb_it(path: Path) -> None:
    looked_at, own = refused(path).pipeline.judge.findings, replay(path).findings
    assert (looked_at.agree, looked_at.disagree, looked_at.inconclusive) == (own.agree, own.disagree, own.inconclusive)


def test_each_cause_of_a_device_is_a_kind_of_its_own(tmp_path: Path) -> None:
    result = refused(full_and_then(tmp_path / "a.swtrace", 129, 1, 2, 129, 1))
    assert {(kind.dev, kind.cause): count for kind, count in result.counts.items()} == {
        (DEV, Cause.TOO_LARGE): 2,
        (DEV, Cause.EXHAUSTED): 3,
    }
    assert [first.explanation.needed_slots for first in result.firsts.values()] == [129, 1]


def test_of_too_many_kinds_only_the_maps_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KINDS", 1)
    path = full_and_then(tmp_path / "a.swtrace", 129, 1)
    result = refused(path)
    assert (len(result.firsts), result.counts.total()) == (1, 2)
    assert "exhausted, 1 map failed" in WhyRecordingReport(path, result, None).as_text()


@pytest.mark.parametrize("areas", [0, 1, 2])
def test_what_takes_too_long_to_find_out_is_not_claimed(
    areas: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = full_and_then(tmp_path / "a.swtrace", 64)  # of 31 smaller sizes none fits
    assert next(iter(refused(path).firsts.values())).largest_fitting_bytes == 0
    monkeypatch.setattr(onlooker, "_PATIENCE", areas)
    result = refused(path)
    assert result.pipeline.judge.findings.agree == replay(path).findings.agree
    (first,) = result.firsts.values()
    assert first.largest_fitting_bytes is None
    assert "was not computed" in WhyRecordingReport(path, result, None).as_text()


@given(
    taken=st.sets(st.integers(0, 511), min_size=8, max_size=120),
    revision=st.sampled_from(sorted(REVISIONS)),
    min_align_mask=st.sampled_from([0, 0xFFF]),
    orig_addr=st.integers(0x20_0000, 0x20_1FFF),
    nareas=st.sampled_from([1, 4]),
)
@settings(deadline=None, max_examples=60)
def test_the_largest_that_fits_is_the_largest_of_all_that_fit(
    taken: set[int], revision: str, min_align_mask: int, orig_addr: int, nareas: int
) -> None:
    model = fragmented(REVISIONS[revision], taken, nareas)
    limits = Limits(min_align_mask=min_align_mask)
    requests = {pages << 12: model.revision.request(pages << 12, orig_addr, 0, limits) for pages in range(64)}
    each = [size_bytes for size_bytes, request in requests.items() if size_bytes and model.find_slots(0, request)]
    asked = model.revision.request(256 << 10, orig_addr, 0, limits)
    found, _ = largest_fitting_bytes(model, 0, asked, 256 << 10, patience=10**6)
    assert found == max(each, default=0)


def fragmented(revision: Revision, taken: set[int], nareas: int) -> Allocator:
    """A static pool of 512 slots, in which these are in use one by one."""
    pool = Pool(1, 1 << 30, 512, nareas, rule=revision.rule)
    for slot in taken:
        pool.take(slot, Request(0x20_0000, 2048, 0, Limits()), DEV)
    return Allocator(revision, [pool], 512, nareas, can_grow=False, dynamic=False)


# ---- what would have avoided it -------------------------------------------------------


def tried(path: Path) -> list[tuple[Change, str, bool | None]]:
    report = report_on(path)
    assert report.avoided
    ((kind, _),) = report.found.firsts.items()
    return [(one.change, one.row.configuration.command_line, one.avoids) for one in report.avoided.trials(kind.dev)]


def test_a_larger_pool_or_growth_would_have_served_the_stalled_disk_and_more_areas_would_not() -> None:
    assert tried(STALL) == [
        (Change.SIZE, "swiotlb=512,1", True),
        (Change.AREAS, "swiotlb=256,2", False),
        (Change.DYNAMIC, "swiotlb=256,1", True),
    ]


def test_of_a_kernel_that_had_no_growth_yet_none_is_told() -> None:
    assert tried(OLD_STALL) == [(Change.SIZE, "swiotlb=512,1", True), (Change.AREAS, "swiotlb=256,2", False)]


def test_of_a_kernel_that_grows_the_memory_is_told_that_a_larger_pool_still_needs() -> None:
    said = report_on(UNALIGNED).as_text()
    assert (
        "larger       swiotlb=2048,1 (4 MiB): yes, nothing fails when that is simulated, if there is memory for "
        "1 added pool and 1 transient pool"
    ) in said
    assert "  growth  " not in said


def test_no_size_serves_what_is_too_large(tmp_path: Path) -> None:
    path = made(tmp_path / "a.swtrace", searched_in_vain(2000, 2001, 129))
    assert tried(path)[0] == (Change.SIZE, "swiotlb=2097152,1", False)
    said = why_recording(path).as_text()
    assert "swiotlb=2097152,1 (4 GiB): no, maps fail for certain" in said
    assert "a mapping of 262,144 bytes would have fitted then" in said
    assert "max_sectors_kb=256 keeps" in said


def test_where_nothing_can_be_sized_it_is_said_why_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swiotlb_top.sizing.demand.MOST_NEEDS", 0)
    report = why_recording(STALL)
    assert "what would have avoided it was not computed: " in report.as_text()
    assert "larger " not in report.as_text()
    assert report.as_json()["not_computed"]


def test_what_the_simulation_gave_up_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avoided, "Patience", lambda _: type("Little", (), {"areas": 1})())
    assert (Change.DYNAMIC, "swiotlb=256,1", None) in [
        (one.change, one.row.configuration.command_line, one.avoids)
        for report in [why_recording(STALL)]
        if report.avoided
        for kind in report.found.firsts
        for one in report.avoided.trials(kind.dev)
    ]


# ---- the command -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "status", "says"),
    [
        (STALL, Exit.DISAGREE, "521 maps failed, and 1,042 did not"),
        (FOUR_CPUS, Exit.OK, "no map failed, of 389 maps"),
        (EMPTY, Exit.DISAGREE, "not explained: 1 failed map"),
        (path_of("lost-and-told"), Exit.INCONCLUSIVE, "4 events lost, among which there may be more"),
    ],
    ids=["failed", "none failed", "not explained", "lost"],
)
def test_the_status_claims_no_more_than_is_known(
    recording: Path, status: Exit, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", str(recording)]) == status
    assert says in capsys.readouterr().out


def test_of_a_recording_that_was_cut_there_is_what_comes_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn.swtrace"
    torn.write_bytes(STALL.read_bytes()[:-200])
    assert main(["why", str(torn), "--json"]) == Exit.UNREADABLE
    said = capsys.readouterr()
    told: dict[str, Any] = json.loads(said.out)
    assert told["failed_maps"] > 0
    assert said.err == f"swiotlb-top: {told['damage']}\n"


@pytest.mark.parametrize("size_bytes", [8, 9, 100], ids=str)
def test_what_only_begins_like_a_recording_is_one_line(
    size_bytes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn.swtrace"
    torn.write_bytes(STALL.read_bytes()[:size_bytes])
    assert main(["why", str(torn)]) == Exit.UNREADABLE
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "is truncated" in said.err


def test_people_and_machines_are_told_the_same() -> None:
    report = report_on(STALL)
    told: Any = report.as_json()
    (kind,) = told["kinds"]
    assert kind["first"]["sentence"] in report.as_text()
    assert [one["command_line"] for one in kind["tried"]] == ["swiotlb=512,1", "swiotlb=256,2", "swiotlb=256,1"]
    assert report_on(GROWING).as_json()["kinds"] == []


# ---- what no room helps against -------------------------------------------------------


def test_where_the_device_cannot_use_the_memory_no_size_is_said_to_help(tmp_path: Path) -> None:
    back = released(1210, 1290, 0, 2)._replace(unreachable=True)
    path = made(tmp_path / "a.swtrace", found(1000, 1100, 0, 2), back, found(2000, 2100, 2))
    said = why_recording(path)
    text = said.as_text()
    assert "1 map failed, and 1 did not" in text
    assert "unreachable, 1 map failed" in text
    assert "found 2 slots at" in text
    assert "larger       no, no size does: the device cannot use swiotlb's memory" in text
    assert "smaller" not in text
    kinds = said.as_json()["kinds"]
    assert isinstance(kinds, list)
    (kind,) = kinds
    assert (kind["cause"], kind["tried"], kind["first"]["largest_fitting_bytes"]) == ("unreachable", [], None)
