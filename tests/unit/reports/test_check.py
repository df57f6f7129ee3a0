"""``check``: one answer, its evidence, and an exit status that claims no more than is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.accounting.evidence import Evidence, Tried
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.allocator import Limits
from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.findings.watched import Watched
from swiotlb_top.kernel.around import Around
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError
from swiotlb_top.kernel_log import watch
from swiotlb_top.kernel_log.watch import KernelLog
from swiotlb_top.reports.check import CheckReport
from swiotlb_top.sources import Source, sampler, select
from tests.support.doctoring import FOUR_CPUS, GROWING, STALL
from tests.support.logs import CALM, EARLIER, POOL, found
from tests.support.snapshots import DEBUGFS, DISK, NVME, SECOND_NS, STALLED

QUIET_LOAD = replace(CALM, maps=1_204_331, used_slots=30, used_hiwater_slots=61)


def report(now: Snapshot, failure: str = "") -> CheckReport:
    """Of two frames, a second apart."""
    watched = Watched()
    before = replace(now, time_ns=now.time_ns - SECOND_NS)
    watched.add(Frame(before))
    watched.add(Frame(now, before, failure=failure))
    return CheckReport.of(watched)


# ---- the answer ----------------------------------------------------------------


def test_innocence_can_be_quoted() -> None:
    told = report(QUIET_LOAD)
    assert (told.exit_code, told.word) == (Exit.OK, "WELL")
    assert told.upshot == (
        "swiotlb is not involved: 1,204,331 maps in 2.0s, none failed, never more than 61 slots in use, of 512 now"
    )


def test_where_the_kernel_keeps_no_high_water_the_readings_tell() -> None:
    told = report(replace(QUIET_LOAD, used_hiwater_slots=0))
    assert told.upshot.endswith("none failed, at most 5.8% of 512 slots in use in 2 readings")


def test_where_nothing_is_mapped_that_is_said() -> None:
    assert report(CALM).upshot == (
        "swiotlb is not involved: no map was asked for in 2.0s, 0.0% of 512 slots are in use"
    )


def test_trouble_is_told_with_the_worst_first_and_what_helps() -> None:
    told = report(STALLED)
    assert (told.exit_code, told.word) == (Exit.DISAGREE, "TROUBLE")
    assert told.upshot.startswith(
        "virtio-pci 0000:00:04.0 (vda): 230 of 14,230 maps failed: fragmented 228, too_large 2; it holds 412 of 2,600 "
        "slots itself ("
    )
    first = json.loads(json.dumps(told.as_json()))["findings"][0]
    assert (first["device"], first["known_as"]) == ("0000:00:04.0", "vda")
    text = told.as_text()
    assert "\nfragmented: Maps fail although enough slots are free" in text
    assert "\n  -> Smaller requests need shorter runs" in text
    assert "\nnearly_full: " in text


def test_json_tells_of_each_device_why_it_bounces_and_its_limits() -> None:
    forced = Evidence(Limits(min_align_mask=0xFFF), False, True, Tried(within=4), Around(asked_for=True))
    told = report(replace(STALLED, devices=(replace(DISK, evidence=forced), NVME))).as_json()
    disk, nvme = json.loads(json.dumps(told))["devices"]
    assert (disk["name"], disk["known_as"], disk["not_known"]) == ("0000:00:04.0", "vda", [])
    assert [told["reason"] for told in disk["bounces"]] == ["asked_for"]
    assert (disk["limits"]["largest_bytes"], disk["limits"]["told_bytes"]) == (262_144, 258_048)
    assert (nvme["bounces"], nvme["limits"]) == ([], None)
    assert len(nvme["not_known"]) > 3


@pytest.mark.parametrize(
    ("now", "failure"),
    [
        (DEBUGFS, ""),
        (replace(QUIET_LOAD, verdict=None), ""),
        (replace(QUIET_LOAD, uncounted=3), ""),
        (replace(QUIET_LOAD, kernel_log=KernelLog(before=found(POOL))), ""),
        (QUIET_LOAD, "no answer for 9 s"),
    ],
    ids=["failures are not seen", "nothing is compared", "calls are missing", "other trouble", "source fails"],
)
def test_what_is_not_known_is_no_innocence(now: Snapshot, failure: str) -> None:
    told = report(now, failure)
    assert (told.exit_code, told.word) == (Exit.CANNOT, "UNKNOWN")
    assert told.upshot == told.unknown[0]
    assert "not known, and could be trouble:\n  " in told.as_text()


def test_what_only_costs_time_is_no_trouble() -> None:
    watched = Watched()
    for second in range(1, 12):
        now = replace(QUIET_LOAD, transient_slots=8, time_ns=second * SECOND_NS)
        watched.add(Frame(now, replace(now, time_ns=now.time_ns - SECOND_NS)))
    told = CheckReport.of(watched)
    assert (told.exit_code, told.word) == (Exit.OK, "WELL")
    assert "transient: Maps keep needing pools of their own" in told.as_text()


def test_of_nothing_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="nothing has been watched"):
        CheckReport.of(Watched())


# ---- no pool -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "status"),
    [
        (KernelLog(), Exit.OK),
        (EARLIER, Exit.DISAGREE),
        (KernelLog(unreadable="not permitted"), Exit.CANNOT),
        (KernelLog(missing="it was overwritten"), Exit.CANNOT),
        (KernelLog(before=found(POOL)), Exit.CANNOT),
    ],
    ids=["calm", "maps failed", "unreadable", "not all of it", "other trouble"],
)
def test_where_there_is_no_pool_the_kernels_log_answers(
    log: KernelLog, status: Exit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Source:
        raise NoPoolError(NoPool.ALL_WITHIN_REACH)

    monkeypatch.setattr(select, "KERNEL_SOURCES", {"live": refuse})
    monkeypatch.setattr(watch, "read_once", lambda: log)
    assert main(["check", "--json"]) == status
    told = json.loads(capsys.readouterr().out)
    assert told["watched"] is None
    if status == Exit.OK:
        assert told["sentence"].startswith("swiotlb is not involved: swiotlb has no memory, and needs none")


# ---- the command ------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [(STALL, Exit.DISAGREE), (GROWING, Exit.OK), (FOUR_CPUS, Exit.OK)])
def test_a_recording_is_checked_to_its_end(path: Path, status: Exit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--trace", str(path)]) == status
    assert ("TROUBLE - " if status else "WELL - ") in capsys.readouterr().out


def test_a_damaged_recording_is_reported_as_far_as_it_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.swtrace"
    cut.write_bytes(GROWING.read_bytes()[:200_000])
    assert main(["check", "--trace", str(cut)]) == Exit.UNREADABLE
    said = capsys.readouterr()
    assert said.out.startswith("UNKNOWN - the recording goes on, and cannot be read")
    assert said.err.count("\n") == 1


def test_a_source_that_fails_on_the_way_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Nothing:
        def close(self) -> None:
            pass

    def two(*_: object) -> Iterator[Frame]:
        yield Frame(STALLED, replace(STALLED, time_ns=STALLED.time_ns - SECOND_NS))
        raise CannotError("the probes are gone")

    monkeypatch.setattr(select, "KERNEL_SOURCES", {"live": Nothing})
    monkeypatch.setattr(sampler, "frames", two)
    assert main(["check", "--source", "live"]) == Exit.CANNOT
    said = capsys.readouterr()
    assert said.out.startswith("TROUBLE - virtio-pci")
    assert "the source cannot be read now: the probes are gone" in said.out
    assert said.err == "swiotlb-top: the probes are gone\n"


@pytest.mark.parametrize("arguments", [["--seconds", "3"], ["--source", "live"]])
def test_a_recording_goes_with_nothing_of_this_machine(arguments: list[str]) -> None:
    assert main(["check", "--trace", str(STALL), *arguments]) == Exit.USAGE
