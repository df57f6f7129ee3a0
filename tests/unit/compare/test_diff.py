"""Two recordings compared: what differs, what is noise, and what nobody can tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.cli import main
from swiotlb_top.compare.measured import PARTS, measure
from swiotlb_top.compare.metrics import LEVEL, METRICS, Answer, Compared, compare
from swiotlb_top.compare.report import DiffReport, diff
from swiotlb_top.errors import CannotError, Exit, UnreadableError
from swiotlb_top.events import Gap
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import replay
from swiotlb_top.stream import End
from swiotlb_top.trace import Header
from tests.support.doctoring import (
    FOUR_AREAS,
    FOUR_CPUS,
    STALL,
    Entry,
    Record,
    drop,
    insert,
    load,
    places,
    record_at,
    save,
)

EMPTY = STALL.parent / "format-1.swtrace"
UNALIGNED = STALL.parent / "unaligned.swtrace"


def metric(report: DiffReport, key: str) -> Compared:
    (found,) = (one for one in (*report.metrics, *report.causes) if one.metric.key == key)
    return found


def changed(path: Path, into: Path, one: Callable[[Record], Record]) -> Path:
    """A recording in which each record is another."""
    return save([one(entry) if isinstance(entry, Record) else entry for entry in load(path)], into / "changed.swtrace")


def slower(record: Record) -> Record:
    """A map that took ten times as long."""
    if record.kind not in (Kind.FIND, Kind.MAP):
        return record
    return record._replace(duration_ns=record.duration_ns * 10)


# ---- what is measured --------------------------------------------------------------


@pytest.mark.parametrize("path", [STALL, FOUR_CPUS, UNALIGNED, FOUR_AREAS], ids=lambda path: path.stem)
def test_what_is_counted_is_what_replay_counts(path: Path) -> None:
    measured, report = measure(path), replay(path).as_json()
    assert (measured.maps, measured.failures) == (report["maps"], report["map_failures"])
    assert dict(measured.causes) == report["map_failures_by_cause"]
    assert sum(part.maps for part in measured.parts) == measured.maps
    assert sum(part.failures for part in measured.parts) == measured.failures
    assert (len(measured.parts), len(measured.whole_parts)) == (PARTS, PARTS)


def test_values_are_those_of_the_rows() -> None:
    report = diff(STALL, STALL)
    assert metric(report, "longest_free_slots").a.value == 127
    assert metric(report, "failed_percent").a.value == pytest.approx(100 * 521 / 1563)
    assert metric(report, "maps_per_second").a.value == pytest.approx(1042 / report.a.found.length_ns * 1e9)
    assert metric(report, "map_p50_ns").a.things == 1042


# ---- what is said of it --------------------------------------------------------------


def test_a_recording_does_not_differ_from_itself() -> None:
    report = diff(STALL, STALL)
    assert {one.answer for one in (*report.metrics, *report.causes)} == {Answer.NOISE}
    assert {one.change_percent for one in report.metrics} == {0}
    assert (report.answer, report.exit_code) == (Answer.NOISE, Exit.OK)


def test_maps_that_take_longer_differ_and_nothing_else_does(tmp_path: Path) -> None:
    report = diff(STALL, changed(STALL, tmp_path, slower))
    assert {one.metric.key for one in report.metrics if one.answer is Answer.DIFFERS} == {"map_p50_ns", "map_p99_ns"}
    assert metric(report, "map_p50_ns").change_percent == pytest.approx(900, abs=0.1)
    assert (report.answer, report.exit_code) == (Answer.DIFFERS, Exit.DISAGREE)


def test_causes_that_only_one_has_are_compared_with_none() -> None:
    report = diff(UNALIGNED, STALL)
    assert {one.metric.key for one in report.causes} == {"exhausted", "misaligned"}
    assert metric(report, "exhausted").answer is Answer.DIFFERS
    assert (metric(report, "exhausted").a.value, metric(report, "exhausted").change_percent) == (0, None)
    assert metric(report, "misaligned").b.value == 0


def test_where_there_is_too_little_it_cannot_be_told_and_is_not_called_noise() -> None:
    """389 maps are enough for the medians of 32 batches, and for the 99th percentiles of three."""
    report = diff(FOUR_CPUS, FOUR_CPUS)
    assert metric(report, "map_p50_ns").answer is Answer.NOISE
    assert (metric(report, "map_p99_ns").answer, metric(report, "map_p99_ns").p) == (Answer.CANNOT_TELL, None)
    assert metric(report, "longest_free_slots").answer is Answer.NEITHER
    assert (report.answer, report.exit_code) == (Answer.CANNOT_TELL, Exit.INCONCLUSIVE)
    assert "cannot tell: too little of it in A and B\n" in report.as_text()


def test_that_something_differs_is_known_whatever_cannot_be_told() -> None:
    report = diff(FOUR_CPUS, STALL)
    assert Answer.CANNOT_TELL in {one.answer for one in report.metrics}
    assert (report.answer, report.exit_code) == (Answer.DIFFERS, Exit.DISAGREE)


def test_of_nothing_nothing_is_said() -> None:
    report = diff(EMPTY, EMPTY)
    assert {one.answer for one in report.metrics} == {Answer.CANNOT_TELL, Answer.NEITHER}
    assert report.exit_code is Exit.INCONCLUSIVE


@pytest.mark.parametrize("shift", [1, 7, 13])
def test_the_answer_does_not_depend_on_which_is_named_first(shift: int, tmp_path: Path) -> None:
    def other(record: Record) -> Record:
        return record._replace(duration_ns=record.duration_ns + shift * (record.exit_ns % 3000))

    one, two = measure(STALL), measure(changed(STALL, tmp_path, other))
    for each in METRICS:
        there, back = compare(each, one, two), compare(each, two, one)
        assert (there.answer, there.a, there.b) == (back.answer, back.b, back.a)


# ---- where something is missing ------------------------------------------------------


def with_a_gap(path: Path) -> list[Entry]:
    entries = load(path)
    at = next(places(entries, Kind.UNMAP)) + 300
    first, last = record_at(entries, at), record_at(entries, at + 9)
    return insert(drop(entries, *range(at, at + 10)), at, Gap(first.exit_ns, last.exit_ns, 10, "ring buffer full"))


def test_parts_in_which_events_were_lost_are_left_out(tmp_path: Path) -> None:
    measured = measure(save(with_a_gap(STALL), tmp_path / "gap.swtrace"))
    assert measured.lost == 10
    assert PARTS - 3 < len(measured.whole_parts) < PARTS
    assert ", 10 events lost" in diff(tmp_path / "gap.swtrace", STALL).as_text()


def test_where_nobody_knows_when_events_were_lost_nothing_that_is_counted_can_be_compared(tmp_path: Path) -> None:
    *entries, end = load(STALL)
    assert isinstance(end, End)
    path = save([*entries, replace(end, lost=5)], tmp_path / "lost.swtrace")
    report = diff(path, STALL)
    told = {one.metric.key: one.answer for one in (*report.metrics, *report.causes)}
    assert {told[key] for key in ("maps_per_second", "failed_percent", "exhausted")} == {Answer.CANNOT_TELL}
    assert metric(report, "maps_per_second").a.value is None
    assert told["map_p50_ns"] is Answer.NOISE


def test_what_cannot_be_read_to_its_end_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    short = tmp_path / "short.swtrace"
    whole = STALL.parent / "debian-7.3.swtrace"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    report = diff(short, whole)
    assert report.exit_code is Exit.UNREADABLE
    assert len(report.damage) == 1
    assert 0 < report.a.maps < report.b.maps
    assert "   it cannot be read to its end, and this is what comes before\n" in report.as_text()


def test_what_is_no_recording_is_no_report(tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    path.write_bytes(b"")
    with pytest.raises(UnreadableError):
        diff(STALL, path)


def test_a_kernel_that_nobody_can_judge_is_refused(tmp_path: Path) -> None:
    header, *rest = load(STALL)
    assert isinstance(header, Header)
    kernel = replace(header.kernel, release="5.15.0", features=())
    path = save([replace(header, kernel=kernel), *rest], tmp_path / "older.swtrace")
    with pytest.raises(CannotError, match="no reference is known"):
        diff(path, STALL)


@pytest.mark.parametrize("name", ["more-releases-than-mappings", "slots-behind-the-last-area"])
def test_a_recording_of_what_cannot_be_is_compared(name: str) -> None:
    report = diff(STALL.parent / "hostile" / f"{name}.swtrace", STALL)
    json.dumps(report.as_json(), allow_nan=False)
    assert report.as_text()


# ---- how it is told --------------------------------------------------------------


def test_the_page_has_a_line_for_each_metric_and_what_they_mean() -> None:
    lines = diff(UNALIGNED, STALL).as_text().splitlines()
    assert lines[0].startswith("A  unaligned.swtrace: kernel 6.12.117, 512 slots at first, 2.6 s, 480 maps, 3 failed (")
    assert lines[1].startswith("B  stall.swtrace: kernel 6.12.117+deb12-amd64, 256 slots at first, 4.2 s, 1042 maps, ")
    assert [line[:16].rstrip() for line in lines[4:13]] == [
        *("map p50", "map p99", "hold p50", "hold p99", "maps", "longest free", "failed maps"),
        *("  exhausted", "  misaligned"),
    ]
    assert lines[4].split() == ["map", "p50", "2.91", "us", "55.9", "us", "+1818.1%", "<0.001", "differs"]
    assert f"below {LEVEL} a line differs, 1 in 100 for nothing" in lines[15]


def test_json_has_the_same() -> None:
    report = diff(FOUR_AREAS, STALL)
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert told["answer"] == report.answer.value
    assert list(told["metrics"]) == [one.metric.key for one in report.metrics]
    for one in report.metrics:
        found = told["metrics"][one.metric.key]
        assert (found["answer"], found["a"], found["p"]) == (one.answer.value, one.a.value, one.p)
    assert (told["a"]["maps"], told["b"]["map_failures_by_cause"]) == (report.a.maps, {"exhausted": 521})


def test_the_command_says_what_is_wrong_with_each_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    short = tmp_path / "short.swtrace"
    short.write_bytes(STALL.read_bytes()[:-300])
    assert main(["diff", str(short), str(STALL)]) == Exit.UNREADABLE
    said = capsys.readouterr()
    assert said.err.startswith("swiotlb-top: ")
    assert said.err.count("short.swtrace is truncated") == said.err.count("\n") == 1
    assert said.out.startswith("A  short.swtrace: ")


def test_the_command_needs_two_recordings() -> None:
    assert main(["diff", str(STALL)]) == Exit.USAGE
    assert main(["diff", str(STALL), str(UNALIGNED)]) == Exit.DISAGREE
