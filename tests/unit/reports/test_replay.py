"""The report of a replay: the same facts for machines and for people, and an exit status for scripts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swiotlb_top.cli.page import folded
from swiotlb_top.errors import CannotError, Exit, UnreadableError, UsageError
from swiotlb_top.events import Event, Gap
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import replay
from swiotlb_top.stream import Consumer, End, deliver
from swiotlb_top.trace import Header, TraceReader
from swiotlb_top.verify import Doubt
from swiotlb_top.verify.diagnose import unconfirmed
from tests.support.corpus import DIRECTORY, HISTORIES
from tests.support.doctoring import (
    FOUR_AREAS,
    FOUR_CPUS,
    GROWING,
    STALL,
    Record,
    change,
    cut,
    drop,
    find,
    insert,
    load,
    record_at,
    save,
    states,
    succeeded,
    with_no_call_under_way,
)

KEYS = [
    "events",
    "maps",
    "unmaps",
    "map_failures",
    "pools_added",
    "pools_freed",
    "transient_pools",
    "lost",
    "compared",
    "agree",
    "disagree",
    "inconclusive",
    "safety_violations",
    "kernel_release",
    "revision",
    "duration_seconds",
]

WIDTH_BITS = dict.fromkeys(["exit_ns", "object", "pool", "address", "size", "result"], 64)
WIDTH_BITS |= {"duration_ns": 32, "align_mask": 32, "cpu": 16, "flags": 8}


def test_json_is_flat_and_has_what_is_documented() -> None:
    report = replay(FOUR_AREAS).as_json()
    assert [key for key in KEYS if key not in report] == []
    assert {key: type(report[key]) for key in KEYS[:13]} == dict.fromkeys(KEYS[:13], int)
    assert (report["kernel_release"], report["revision"], report["verdict"]) == ("6.12.117", "6.10", "agree")
    assert isinstance(report["duration_seconds"], float)
    assert json.loads(json.dumps(report)) == report


def test_json_counts_what_the_recording_holds() -> None:
    entries = load(FOUR_AREAS)
    end = entries[-1]
    assert isinstance(end, End)
    report = replay(FOUR_AREAS).as_json()
    assert {key: report[key] for key in ("maps", "unmaps", "map_failures")} == {
        key: end.counters[key] for key in ("maps", "unmaps", "map_failures")
    }
    assert report["nslabs"] == end.counters["nslabs"]
    assert report["duration_seconds"] == round(end.duration_ns / 1e9, 3)
    assert report["pools_freed"] == report["transient_pools"]


def test_failures_are_told_by_cause() -> None:
    report = replay(STALL).as_json()
    assert report["map_failures_by_cause"] == {"exhausted": report["map_failures"]}


def test_text_says_the_verdict_and_why_maps_failed() -> None:
    text = replay(STALL).as_text()
    assert "verdict: AGREE - " in text
    assert "last failure: needs 128 slots, 127 of 256 are free" in text
    assert "judged as revision 6.10" in text
    assert "disagreement" not in text


def test_a_disagreement_is_told_with_both_sides_and_a_picture(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    at = find(entries, Kind.FIND, succeeded, nth=100)
    doctored = with_no_call_under_way(change(entries, at, result=record_at(entries, at).result + 1))
    report = replay(save(doctored, tmp_path / "doctored.swtrace"))
    text = report.as_text()
    assert "verdict: DISAGREE" in text
    assert "first disagreement: operation " in text
    assert "  kernel:    " in text
    assert "  reference: slot " in text
    assert "the reference's slots there" in text
    told = report.as_json()["first_disagreement"]
    assert isinstance(told, dict)
    assert told["time_ns"] == record_at(entries, at).exit_ns
    assert told["event"]["kind"] == "find"
    json.dumps(told)


GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def disagreement(tmp_path: Path) -> Path:
    """Four CPUs, and one search that ended a slot further than it did."""
    return save(HISTORIES["one-slot-further"].entries(), tmp_path / "doctored.swtrace")


@pytest.mark.parametrize(
    ("name", "path", "context", "explain"),
    [("agrees", FOUR_CPUS, 3, False), ("explains", STALL, 3, True), ("disagrees", None, 2, True)],
)
def test_a_page_is_as_it_was_approved_where_80_columns_are_shown(
    name: str, path: Path | None, context: int, explain: bool, disagreement: Path
) -> None:
    text = replay(path or disagreement, context=context).as_text(explain=explain)
    page = "".join(f"{folded(line, 80)}\n" for line in text.splitlines())
    assert max(map(len, page.splitlines())) <= 80
    assert page == (GOLDEN / f"report-{name}.txt").read_text()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_as_many_operations_are_told_of_on_either_side_as_were_asked_for(count: int, disagreement: Path) -> None:
    report = replay(disagreement, context=count)
    relations = Counter(call.relation for call in report.context)
    assert (relations["before"], relations["it"], relations["after"]) == (count, 1, count)
    assert [call.exit_ns for call in report.context] == sorted(call.exit_ns for call in report.context)


def test_json_tells_of_a_disagreement_all_that_the_page_does(disagreement: Path) -> None:
    report = replay(disagreement)
    told = report.as_json()["first_disagreement"]
    assert isinstance(told, dict)
    assert told["agreeing_before"] == told["operation"] - 1
    assert told["picture"]
    assert [call["relation"] for call in told["context"]] == [call.relation for call in report.context]
    json.dumps(told)


def test_disagreements_are_counted_by_kind_and_the_first_of_each_is_told(disagreement: Path) -> None:
    report = replay(disagreement, context=1)
    told, text = report.as_json(), report.as_text()
    kinds, firsts = told["disagreements_by_kind"], told["first_disagreement_by_kind"]
    assert isinstance(kinds, dict)
    assert isinstance(firsts, dict)
    assert kinds == {"misaligned_address": 1, "not_mapped": 1, "overlap": 2}
    assert [(kind, first["operation"]) for kind, first in firsts.items()] == [
        ("misaligned_address", 276),
        ("not_mapped", 297),
        ("overlap", 300),
    ]
    assert firsts["misaligned_address"] == told["first_disagreement"]
    assert "\n  2 disagree, overlap: slots were given out that are in use\n" in text
    assert "\noperation 300, after 297 that agree, the first overlap\n" in text
    for first in firsts.values():
        assert sorted(call["relation"] for call in first["context"] if call["relation"] != "overlaps") == [
            *("after", "before", "it")
        ]
        assert {call["exit_ns"] for call in first["context"] if call["relation"] == "it"} == {first["time_ns"]}


def test_a_disagreement_of_which_nothing_is_kept_is_counted(
    monkeypatch: pytest.MonkeyPatch, disagreement: Path
) -> None:
    monkeypatch.setattr(unconfirmed, "MOST_IN_FULL", 0)
    monkeypatch.setattr(unconfirmed, "MOST_IN_BRIEF", 0)
    report = replay(disagreement)
    told = report.as_json()
    assert told["disagreements_by_kind"] == {"misaligned_address": 1, "not_mapped": 1, "overlap": 2}
    assert (told["first_disagreement"], told["first_disagreement_by_kind"]) == (None, {})
    assert "first" not in report.as_text()


def test_the_share_of_operations_that_were_verified_counts_the_lost_ones_too() -> None:
    told = replay(DIRECTORY / "lost-and-told.swtrace")
    findings = told.findings
    assert told.lost == 4
    took_place = findings.compared + findings.inconclusive + 4
    assert told.as_json()["verified_percent"] == round(100 * findings.compared / took_place, 3)
    assert replay(FOUR_CPUS).verified_percent == 100


def test_causes_are_counted_with_the_first_of_each() -> None:
    report = replay(STALL)
    first = report.as_json()["first_failure_by_cause"]
    assert isinstance(first, dict)
    assert first["exhausted"]["sentence"] == "needs 128 slots, 127 of 256 are free"
    assert f"  exhausted {report.pipeline.account.map_failures:>16}" in report.as_text(explain=True)
    assert replay(FOUR_AREAS).as_text(explain=True).endswith("\nno map failed")


def test_where_nothing_was_recorded_the_answer_is_inconclusive(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    report = replay(save(cut(entries, states(entries)[0] + 1), tmp_path / "nothing.swtrace"))
    assert report.exit_code is Exit.INCONCLUSIVE
    assert report.as_json()["verdict"] == "inconclusive"


def test_without_a_first_state_the_answer_is_inconclusive(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    report = replay(save(drop(cut(entries, 500), *states(entries)[:1]), tmp_path / "blind.swtrace"))
    assert report.exit_code is Exit.INCONCLUSIVE
    assert list(report.findings.doubts) == [Doubt.BEFORE_STATE]
    assert "inconclusive before the first state: " in report.as_text()


def test_after_a_gap_the_answer_is_inconclusive_and_counts_are_not_held_against_the_kernels(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    at = find(entries, Kind.FIND, succeeded, nth=100)
    time_ns = record_at(entries, at).exit_ns
    with_a_gap = insert(drop(entries, at), at, Gap(time_ns, time_ns + 1, 1, "ring buffer full"))
    report = replay(save(with_a_gap, tmp_path / "gap.swtrace"))
    assert (report.exit_code, report.findings.disagree) == (Exit.INCONCLUSIVE, 0)
    assert report.findings.doubts.keys() == {Doubt.AFTER_GAP}
    assert report.miscounts == ()
    assert report.pipeline.account.lost == 1


def test_a_truncated_recording_is_reported_as_far_as_it_goes(tmp_path: Path) -> None:
    short = tmp_path / "short.swtrace"
    whole = GROWING.read_bytes()
    short.write_bytes(whole[:-300])
    report = replay(short)
    assert report.exit_code is Exit.UNREADABLE
    assert "short.swtrace is truncated at byte " in report.damage
    assert report.as_json()["damage"] == report.damage
    assert (report.as_json()["verdict"], report.as_json()["verified_percent"]) == ("inconclusive", None)
    assert "verdict: INCONCLUSIVE - " in report.as_text()
    assert "% compared" not in report.as_text()
    assert report.findings.disagree == 0
    assert report.findings.agree > 1000


def test_a_record_nobody_wrote_is_damage(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    at = find(entries, Kind.FIND, nth=100)
    report = replay(save(change(entries, at, kind=77), tmp_path / "newer.swtrace"))
    assert report.exit_code is Exit.UNREADABLE
    assert report.damage == "the recording holds events this swiotlb-top does not know: record of unknown kind 77"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, 299),
    field=st.sampled_from(sorted(WIDTH_BITS)),
    value=st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])),
)
def test_whatever_stands_in_a_record_there_is_a_report(at: int, field: str, value: int, tmp_path: Path) -> None:
    entries = cut(load(FOUR_AREAS), 400)
    places = [place for place, entry in enumerate(entries) if isinstance(entry, Record)]
    doctored = change(entries, places[at], **{field: value % (1 << WIDTH_BITS[field])})
    report = replay(save(doctored, tmp_path / "doctored.swtrace"))
    assert report.as_text().count("verdict: ") == 1
    json.dumps(report.as_json())


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n"], ids=["empty", "foreign"])
def test_what_is_no_recording_is_no_report(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.swtrace"
    path.write_bytes(content)
    with pytest.raises(UnreadableError):
        replay(path)


def test_an_unknown_revision_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        replay(FOUR_AREAS, "nonsense")


def test_a_recording_of_a_kernel_nobody_knows_cannot_be_judged(tmp_path: Path) -> None:
    header, *rest = load(FOUR_AREAS)
    assert isinstance(header, Header)
    path = save([of_an_old_kernel(header), *rest], tmp_path / "older.swtrace")
    with pytest.raises(CannotError, match="no reference is known"):
        replay(path)
    assert replay(path, "6.10").exit_code is Exit.OK


def of_an_old_kernel(header: Header) -> Header:
    return replace(header, kernel=replace(header.kernel, release="5.15.0", features=()))


class Latest(Consumer):
    """Learns when the latest call was over."""

    exit_ns = 0

    def feed(self, events: Sequence[Event]) -> None:
        self.exit_ns = max(self.exit_ns, *(event.exit_ns for event in events))


def test_a_recording_that_was_cut_short_lasted_as_long_as_what_is_left_of_it(tmp_path: Path) -> None:
    whole, cut_short = GROWING.read_bytes(), tmp_path / "cut.swtrace"
    cut_short.write_bytes(whole[: len(whole) * 3 // 4])
    report = replay(cut_short)
    left = Latest()
    with pytest.raises(UnreadableError):
        deliver(TraceReader(cut_short).stream(), left)
    assert report.damage
    assert report.duration_ns == left.exit_ns - report.pipeline.begin_ns > 1_000_000
    assert " events in 0.0 s" not in report.as_text()


@pytest.mark.parametrize("name", ["more-releases-than-mappings", "slots-behind-the-last-area"])
def test_no_number_of_used_slots_is_made_up(name: str) -> None:
    """One would be below 0, the other above the number of slots that there are."""
    report = replay(STALL.parent / "hostile" / f"{name}.swtrace")
    assert report.as_json()["used_slots"] is None
    assert "; ? of " in report.as_text()
