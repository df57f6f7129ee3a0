"""Which size is recommended, how sure that is, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from swiotlb_top.sizing.chart import Bar, Ink, chart
from swiotlb_top.sizing.demand import Demand
from swiotlb_top.sizing.fleet import Fleet
from swiotlb_top.sizing.recordings import read
from swiotlb_top.sizing.report import SizeReport, answer
from swiotlb_top.sizing.sized import How, Question, Row, Sized, Standing, size
from swiotlb_top.sizing.units import duration, memory
from swiotlb_top.state import DeviceName
from tests.support.doctoring import FOUR_CPUS, GROWING, STALL, cut, known_as, load, save
from tests.support.histories import device, empty_pool, found, machine, released, state_of
from tests.support.made_recordings import demand

TRACES = STALL.parent
UNALIGNED = TRACES / "unaligned.swtrace"
ASKED = Question()


demand_of = cache(read)


def sized(recording: Path, question: Question = ASKED) -> Sized:
    return size(demand_of(recording), question)


def row_of(of: Sized, nslabs: int) -> Row:
    return next(row for row in of.rows if row.configuration.nslabs == nslabs)


def busy(*nslots: int) -> Demand:
    """All of them at one time, one after another asked for, of a pool of 1 MiB."""
    maps = [found(1000 + at, 1000 + at, at, slots) for at, slots in enumerate(nslots)]
    return demand(machine(), device(), *maps, *(released(2000 + at, 2000 + at, at) for at in range(len(nslots))))


# ---- the stalled disk -------------------------------------------------------------


def test_the_stalled_disk_needs_a_slot_more_than_it_has() -> None:
    found = sized(STALL)
    assert (found.floor.slots, found.today.configuration.nslabs) == (257, 256)
    assert (found.today.standing, found.today.how, found.today.failures) == (Standing.FAILS, How.BOUND, None)
    assert found.recommended
    assert found.recommended.configuration.command_line == "swiotlb=512,1"


def test_where_maps_failed_the_answer_is_a_least_and_not_certain() -> None:
    found = sized(STALL)
    assert found.recommended
    assert found.recommended.how is How.BOUND
    assert found.at_least
    assert not found.certain


# ---- which is recommended -----------------------------------------------------------


def test_the_smallest_that_never_fails_with_headroom_is_recommended() -> None:
    made = busy(*[128] * 4)  # 512 slots
    with_room = {percent: size(made, Question(headroom_percent=percent)).recommended for percent in (0, 25, 100, 101)}
    assert [row.configuration.nslabs if row else 0 for row in with_room.values()] == [512, 1024, 1024, 2048]


def test_a_size_that_must_grow_is_not_recommended() -> None:
    """There may be no memory when it is needed."""
    found = sized(GROWING)
    grows = row_of(found, 2048)
    assert (grows.standing, grows.how, grows.roomy) == (Standing.HOLDS, How.SIMULATED, False)
    assert (grows.pools_added, grows.transient_pools) == (1, 4)
    assert found.recommended == row_of(found, 4096)
    assert found.certain


def test_what_never_grows_is_asked_for_with_static() -> None:
    found = sized(GROWING, Question(dynamic=False))
    assert [row_of(found, nslabs).standing for nslabs in (512, 1024, 2048, 4096)] == [
        Standing.FAILS, Standing.FAILS, Standing.FAILS, Standing.HOLDS,
    ]  # fmt: skip
    assert all(row.outcome is None for row in found.rows)  # the bounds tell all


def test_between_the_bounds_it_is_simulated_and_less_sure() -> None:
    found = sized(FOUR_CPUS, Question(dynamic=False))
    row = found.recommended
    assert row == row_of(found, 2048)
    assert row
    assert row.how is How.SIMULATED
    assert not found.certain


def test_areas_are_no_more_than_slot_sets() -> None:
    found = sized(STALL, Question(nareas=16))
    assert [row.configuration.nareas for row in found.rows][:4] == [4, 8, 16, 16]


def test_of_a_pool_whose_areas_are_no_whole_slot_sets_nothing_is_certain_but_that_it_is_too_small() -> None:
    """What was booted can be anything: a restricted pool, or 100 MiB."""
    odd = machine(state_of(empty_pool(nslabs=1000, nareas=3)))
    made = demand(odd, device(), found(1000, 1010, 0))
    today = size(made, Question(dynamic=False)).today
    assert (today.standing, today.how) == (Standing.HOLDS, How.SIMULATED)


def test_the_failures_that_were_recorded_lie_between_the_two_that_are_told() -> None:
    """Three buffers failed in the kernel; if each had lived as long as any, others would have failed beside them."""
    today = sized(UNALIGNED).today
    assert (today.failures_at_least, today.failures) == (3, 8)


def test_more_than_a_slot_set_in_one_piece_is_served_by_no_size() -> None:
    report = SizeReport(Fleet((size(busy(129), ASKED),)))
    assert report.exit_code == Exit.DISAGREE
    assert "asks for 129 slots in one piece" in report.as_text()
    assert report.as_json()["recommended_nslabs"] is None


def test_each_device_is_told_alone() -> None:
    assert [(one.name, one.driver, one.peak_slots) for one in sized(GROWING).devices] == [
        ("0000:00:04.0", "virtio-pci", 2060),
        ("0000:00:05.0", "nvme", 2048),
    ]


# ---- what is said -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "says"),
    [
        (STALL, "boot with at least swiotlb=512,1 (1 MiB; 512 KiB more than today)"),
        (STALL, "could it be smaller? no: 257 slots are needed at once, and the next smaller has 256"),
        (STALL, "It is a least: what waited behind a map that failed was never asked for"),
        (GROWING, "boot with swiotlb=4096,1 (8 MiB; 7 MiB more than today)"),
        (GROWING, "could it be smaller? only where memory for growth is always there: 2048 slots grow (pools: 1)"),
        (TRACES / "debian-7.3.swtrace", "boot with swiotlb=512,4 (1 MiB; as today)"),
        (TRACES / "debian-7.3.swtrace", "it cannot fail only from 1280 slots on"),
        (TRACES / "debian-7.3.swtrace", "smaller than 1 MiB was not tried"),
        (UNALIGNED, "swiotlb=512,1: 0000:00:05.0 8, at least 3 (misaligned 8); the first needs 32 slots"),
    ],
)
def test_the_answer_in_sentences(recording: Path, says: str) -> None:
    assert says in SizeReport(Fleet((sized(recording),))).as_text()


def test_an_assumption_is_told_with_its_effect() -> None:
    report = answer([STALL], ASKED, None)
    (member,) = report.fleet.members
    assert member.assumptions
    for assumption in member.assumptions:
        assert f"  {assumption.sentence}; {assumption.effect}" in report.as_text().splitlines()


def test_what_today_wastes_is_saved() -> None:
    made = demand(machine(), device(), found(1000, 1010, 0), found(1020, 1030, 1))
    large = size(made, ASKED)
    object.__setattr__(large, "today", row_of(large, 2048))
    assert "(1 MiB; saves 3 MiB)" in SizeReport(Fleet((large,))).as_text()


def of_a_disk(path: Path, recording: Path, requests: int) -> Path:
    """The recording as it is if sysfs told what the disk's queue holds."""
    named = known_as("vda", load(recording))
    return save([replace(one, queue_requests=requests) if isinstance(one, DeviceName) else one for one in named], path)


def test_where_maps_failed_the_queue_bounds_what_waited(tmp_path: Path) -> None:
    report = answer([of_a_disk(tmp_path / "a.swtrace", STALL, 128)], ASKED, None)
    said = report.as_text()
    assert "0000:00:04.0 (virtio-pci, vda) 257 slots, 3 needs, 521 failed maps; its queues hold 128 requests" in said
    assert "the queues of 0000:00:04.0 (vda) held 128 requests, as sysfs had it: no more can be in flight" in said


def test_where_none_failed_nothing_waited(tmp_path: Path) -> None:
    said = answer([of_a_disk(tmp_path / "a.swtrace", FOUR_CPUS, 128)], ASKED, None).as_text()
    assert "its queues hold 128 requests" in said
    assert "can be in flight" not in said


def test_of_a_queue_that_is_not_known_nothing_is_said() -> None:
    said = SizeReport(Fleet((sized(STALL),))).as_text()
    assert "queues" not in said


# ---- several recordings ---------------------------------------------------------------


def test_of_several_the_worst_counts_and_99_of_100_are_told() -> None:
    static = Question(dynamic=False)
    small, large = size(busy(1), static), size(busy(*[128] * 8), static)
    fleet = Fleet((*[small] * 99, large))
    assert fleet.recommended
    assert fleet.of_99_percent
    assert (fleet.recommended.nslabs, fleet.of_99_percent.nslabs) == (2048, 512)
    assert fleet.worst is large
    first = fleet.sizes[0]
    assert (first.standing, first.roomy_percent) == (Standing.FAILS, 99.0)
    assert first.failures is None  # of one it is not known


def test_what_was_sized_keeps_no_needs() -> None:
    """There may be hundreds of recordings."""
    kept = sized(GROWING).demand
    assert (len(kept.least), len(kept.most), kept.today.pools) == (0, 0, ())


def test_certain_is_only_what_is_certain_of_all() -> None:
    fleet = Fleet((sized(GROWING), sized(STALL)))
    assert fleet.recommended
    assert fleet.recommended.nslabs == 4096
    assert not fleet.certain


# ---- the command ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "status"), [(GROWING, Exit.OK), (STALL, Exit.INCONCLUSIVE), (FOUR_CPUS, Exit.INCONCLUSIVE)]
)
def test_the_status_is_0_only_where_the_answer_is_certain(
    recording: Path, status: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["size", str(recording), "--json"]) == status
    told = json.loads(capsys.readouterr().out)
    assert told["certain"] == (status == Exit.OK)
    assert [one["nslabs"] << 11 for one in told["configurations"]] == [1 << order for order in range(20, 33)]


def test_options_reach_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    main(["size", str(STALL), "--headroom", "100%", "--areas", "3", "--dynamic", "--revision", "6.6", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["recommended_nslabs"], told["recommended_areas"]) == (1024, 4)
    assert told["configurations"][0]["dynamic"]
    assert told["recordings"][0]["revision"] == "6.6"


@pytest.mark.parametrize("headroom", ["-1", "1001%", "25 %", "a lot", "2.5%", "%"])
def test_a_headroom_that_is_no_share_is_a_usage_error(headroom: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", str(STALL), f"--headroom={headroom}"]) == Exit.USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_of_a_recording_that_was_cut_what_there_is_is_sized(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = save(load(GROWING), tmp_path / "whole.swtrace")
    torn = tmp_path / "torn.swtrace"
    torn.write_bytes(whole.read_bytes()[:-200])
    assert main(["size", str(torn), "--json"]) == Exit.UNREADABLE
    said = capsys.readouterr()
    assert said.err.startswith(f"swiotlb-top: {torn} is truncated")
    told = json.loads(said.out)
    assert (told["recommended_nslabs"], told["certain"], told["at_least"]) == (4096, False, True)
    assert f"swiotlb-top: {told['recordings'][0]['damage']}\n" == said.err


def test_of_a_recording_that_was_cut_before_its_first_map_nothing_is_sized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn.swtrace"
    torn.write_bytes(STALL.read_bytes()[:2000])
    assert main(["size", str(STALL), str(torn)]) == Exit.UNREADABLE
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_recording_without_a_map_is_not_sized(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = save(cut(load(STALL), 3), tmp_path / "empty.swtrace")
    assert main(["size", str(empty)]) == Exit.UNREADABLE
    assert "there is no map to size swiotlb by" in capsys.readouterr().err


# ---- charts and numbers ------------------------------------------------------------------


def test_the_chart_has_a_bar_a_size() -> None:
    bars = [
        Bar(512, None, None, False),
        Bar(1024, 40, 1024, False),
        Bar(2048, 1, 1030, False),
        Bar(4096, 0, 1030, True),
    ]
    assert list(chart(bars, Ink("#", ".", ">"))) == [
        "      size  failures                  peak, of the pool",
        "     1 MiB  at least 1                not known",
        "     2 MiB  ##################### 40  ######################## 100 %",
        "     4 MiB  # 1                       #############........... 50.3 %",
        ">    8 MiB  0                         #######................. 25.1 %",
    ]


def test_numbers_for_people() -> None:
    assert [memory(1 << order) for order in (11, 19, 20, 29, 30, 32)] == [
        "2 KiB", "512 KiB", "1 MiB", "512 MiB", "1 GiB", "4 GiB",
    ]  # fmt: skip
    assert memory(3 << 19) == "1.5 MiB"
    assert (duration(38_913_168), duration(0)) == ("38.9ms", "")
