"""``swiotlb-top info``: what a recording is, and what it reveals, without judging it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit, UnreadableError
from swiotlb_top.recording.clock import Clock, in_words
from swiotlb_top.recording.info import inspect
from swiotlb_top.reports.replay import replay
from swiotlb_top.trace import Header, TraceReader, TraceWriter
from tests.fuzz.mutate import put_together, taken_apart
from tests.support.doctoring import FOUR_CPUS, GROWING, STALL, known_as, load, save

RECORDINGS = (GROWING, *sorted(STALL.parent.glob("*.swtrace")))
HOSTILE = sorted((STALL.parent / "hostile").glob("*.swtrace"))


def told(path: Path, capsys: pytest.CaptureFixture[str], status: int = Exit.OK) -> dict[str, Any]:
    assert main(["info", str(path), "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_it_counts_what_replay_counts(path: Path) -> None:
    found, report = inspect(path).as_json(), replay(path)
    account = report.pipeline.account
    kinds = found["events_by_kind"]
    assert isinstance(kinds, dict)
    assert found["events"] == account.events == sum(kinds.values())
    assert kinds.get("find", 0) + kinds.get("map", 0) == account.maps + account.map_failures
    assert kinds.get("unmap", 0) == account.unmaps
    assert found["duration_seconds"] == report.as_json()["duration_seconds"]
    assert found["revision"] == report.as_json()["revision"]
    assert found["lost"] == report.lost


def test_it_says_what_the_recording_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(STALL, capsys)
    assert found["schema"] == 1
    assert (found["kernel_release"], found["machine"]) == ("6.12.117+deb12-amd64", "x86_64")
    assert found["geometry"]["pools"] == [{"start": "0x3e700000", "nslabs": 256, "nareas": 1}]
    assert found["devices"] == [{"name": "0000:00:04.0", "driver": "virtio-pci", "known_as": None}]
    assert found["events_by_kind"] == {"map": 1563, "unmap": 1042, "device": 1}
    assert (found["complete"], found["damage"], found["host"]) == (True, "", None)


def test_the_page_has_a_label_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(STALL)]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    labels = [line.split()[0] for line in lines]
    assert labels[:10] == [
        *("file", "kernel", "host", "time", "revision", "geometry", "events", "devices", "lost", "damaged")
    ]
    assert set(labels[10:]) == {"hook", "reveals"}


def test_a_host_that_is_told_is_revealed(tmp_path: Path) -> None:
    header, *rest = load(STALL)
    assert isinstance(header, Header)
    path = save([replace(header, host="node-7", started_monotonic_ns=19_000_000_000), *rest], tmp_path / "a.swtrace")
    found = inspect(path).as_json()
    assert found["host"] == "node-7"
    assert any("node-7" in sentence for sentence in found["reveals"])  # type: ignore[attr-defined]
    assert found["wall_clock_exact"] is True


def test_what_devices_are_known_by_is_told_and_revealed(tmp_path: Path) -> None:
    info = inspect(save(known_as("vda", load(STALL)), tmp_path / "a.swtrace"))
    assert info.as_json()["devices"] == [{"name": "0000:00:04.0", "driver": "virtio-pci", "known_as": "vda"}]
    assert "devices   0000:00:04.0 (virtio-pci, vda)\n" in info.as_text()
    assert "reveals   names of disks and network interfaces\n" in info.as_text()
    assert "interfaces" not in inspect(STALL).as_text()


def test_the_wall_clock_is_that_of_the_moment_at_which_both_were_read() -> None:
    header = replace(TraceReader(STALL).header, started_realtime_ns=5_000_000_000, started_monotonic_ns=2_000_000_000)
    clock = Clock.of(header, first_ns=2_300_000_000)
    assert clock.wall_ns(2_500_000_000) == 5_500_000_000
    assert clock.exact


def test_without_it_the_first_state_stands_for_it() -> None:
    clock = Clock.of(replace(TraceReader(STALL).header, started_realtime_ns=5_000_000_000), first_ns=2_000_000_000)
    assert clock.wall_ns(2_500_000_000) == 5_500_000_000
    assert not clock.exact


def test_times_are_utc_to_the_nanosecond_and_no_calendar_is_needed() -> None:
    assert in_words(1_800_000_000_000_000_001) == "2027-01-15T08:00:00.000000001Z"
    assert in_words(1 << 62) == "2116-02-20T23:53:38.427387904Z"
    assert in_words(1 << 80) == "@1208925819614629.174706176"


def test_a_cut_recording_is_described_up_to_there_and_its_status_is_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.swtrace"
    path.write_bytes(STALL.read_bytes()[:-10])
    found = told(path, capsys, Exit.UNREADABLE)
    assert found["events"] == 2606
    assert (found["complete"], "truncated" in found["damage"]) == (False, True)


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_a_hostile_recording_is_told_in_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["info", str(path)])
    assert status in (Exit.OK, Exit.UNREADABLE)
    assert capsys.readouterr().err.count("\n") == (status == Exit.UNREADABLE)


def test_records_of_a_kind_that_nobody_knows_are_damage(tmp_path: Path) -> None:
    frames = taken_apart(FOUR_CPUS)
    next(frame for frame in frames if frame.records).records[-1][3] = 77
    path = tmp_path / "kind.swtrace"
    path.write_bytes(put_together(frames))
    assert "kind 77" in inspect(path).damage


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_text("hello")
    with pytest.raises(UnreadableError):
        inspect(path)


def test_a_recording_of_nothing_has_no_times(tmp_path: Path) -> None:
    path = tmp_path / "nothing.swtrace"
    with TraceWriter(path, TraceReader(STALL).header) as trace:
        trace.end({}, 0, 0)
    found = inspect(path)
    assert found.as_json()["begin_ns"] is None
    assert "nothing with a time" in found.as_text()


def test_it_says_all_that_the_kernel_may_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rest = load(STALL)
    assert isinstance(header, Header)

    def of(**kernel: Any) -> Path:
        return save([replace(header, kernel=replace(header.kernel, **kernel)), *rest], tmp_path / "a.swtrace")

    features = ("areas", "alloc_size")
    found = told(of(release="6.1.0-7.3-x", features=features, version=""), capsys)
    assert (found["revision"], found["may_be"]) == ("6.1", ["stable 6.1 since 6.1.84", "6.1"])
    assert (found["revision_unknown_because"], found["kernel_version"]) == (None, None)
    version = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.55-1 (2023-09-29)"
    path = of(release="6.1.0-7.3-x", features=features, version=version)
    found = told(path, capsys)
    assert (len(found["may_be"]), found["kernel_version"]) == (1, version)
    assert any("build" in sentence for sentence in found["reveals"])
    assert found["revision"] == replay(path).as_json()["revision"]


def test_it_says_why_it_is_not_known_what_the_kernel_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rest = load(STALL)
    assert isinstance(header, Header)
    shown = ("areas", "pools", "total_used", "alloc_size", "pad_slots", "cc_shared")
    kernel = replace(header.kernel, release="6.7.0", features=shown)
    path = save([replace(header, kernel=kernel), *rest], tmp_path / "a.swtrace")
    found = told(path, capsys)
    assert (found["revision"], found["may_be"]) == (None, [])
    assert found["revision_unknown_because"].startswith("no kernel that is known here has all that 6.7.0 shows")
    assert "revision  not known: no kernel that is known here" in inspect(path).as_text()
