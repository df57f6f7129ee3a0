"""``swiotlb_top.open()``: events and rows of a recording, on the same books and by the same judge as ``replay``."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import swiotlb_top
from swiotlb_top.errors import CannotError, UnreadableError, UsageError
from swiotlb_top.events import Event, Find, Free, Gap, Map, Unmap
from swiotlb_top.recording.overlaps import MOST, Overlaps
from swiotlb_top.recording.rows import TABLES, Mapping, columns
from swiotlb_top.reports.replay import ReplayReport, replay
from swiotlb_top.trace import Header, TraceWriter
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, GROWING, STALL, known_as, load, save
from tests.support.histories import KERNEL, device, found, machine, released
from tests.support.packed import packed

TRACES = STALL.parent
SMALL = (FOUR_AREAS, FOUR_CPUS, STALL, TRACES / "unaligned.swtrace", TRACES / "debian-6.1-stall.swtrace")
DOCTORED = ("lost-and-told", "begun-on-another-cpu-unseen", "released-late")
JUDGED = (*SMALL, *map(path_of, DOCTORED), TRACES / "faulty/no-min-alignment.swtrace")


def of(path: Path) -> str:
    return path.stem


@cache
def replayed(path: Path) -> ReplayReport:
    return replay(path)


@cache
def mappings(path: Path) -> tuple[Mapping, ...]:
    return tuple(swiotlb_top.open(path).mappings())


@pytest.mark.parametrize("path", JUDGED, ids=of)
def test_verdicts_of_rows_are_those_of_replay(path: Path) -> None:
    findings = replayed(path).findings
    rows = mappings(path)
    words = Counter(row.verdict for row in rows if row.map_ns is not None)
    words += Counter(row.unmap_verdict for row in rows if row.unmap_ns is not None)
    assert words["agree"] == findings.agree
    assert words["disagree"] == findings.disagree
    assert words[None] == findings.elsewhere


@pytest.mark.parametrize("path", JUDGED, ids=of)
def test_there_is_a_row_for_each_map_and_for_each_end(path: Path) -> None:
    account = replayed(path).pipeline.account
    rows = mappings(path)
    assert sum(row.failed for row in rows) == account.map_failures
    assert sum(row.map_ns is not None and not row.failed for row in rows) == account.maps
    assert sum(row.unmap_ns is not None for row in rows) == account.unmaps


@pytest.mark.parametrize("path", JUDGED, ids=of)
def test_causes_of_failures_are_those_of_replay(path: Path) -> None:
    found = list(swiotlb_top.open(path).failures())
    assert len(found) == replayed(path).pipeline.account.map_failures
    told = replayed(path).as_json()["map_failures_by_cause"]
    assert dict(Counter(row.cause for row in found if row.cause)) == told
    assert all(row.sentence for row in found if row.cause)


@pytest.mark.parametrize("path", SMALL, ids=of)
def test_rows_that_are_not_judged_are_the_same_but_for_what_the_judge_says(path: Path) -> None:
    def without(row: Mapping) -> Mapping:
        return row._replace(cause=None, verdict=None, unmap_verdict=None, overlap=None)

    assert list(swiotlb_top.open(path).mappings(judged=False)) == [without(row) for row in mappings(path)]


def test_a_table_can_be_read_again() -> None:
    recording = swiotlb_top.open(STALL)
    table = recording.mappings()
    assert tuple(table) == tuple(table) == mappings(STALL)


def test_a_mapping_has_its_device_place_times_and_verdict() -> None:
    first = next(row for row in mappings(STALL) if not row.failed)
    assert (first.device, first.driver, first.cpu, first.failed) == ("0000:00:04.0", "virtio-pci", 0, False)
    assert (first.pool, first.pool_kind, first.nslots) == ("0x3e700000", "default", 1)
    assert (first.verdict, first.unmap_verdict, first.overlap) == ("agree", "agree", 0)
    assert first.map_ns is not None
    assert first.unmap_ns is not None
    assert first.hold_ns == first.unmap_ns - first.map_ns > 0
    assert first.map_wall_ns == swiotlb_top.open(STALL).clock.wall_ns(first.map_ns)


def test_a_refused_map_says_why() -> None:
    row = next(row for row in swiotlb_top.open(STALL).failures())
    assert (row.cause, row.sentence) == ("exhausted", "needs 128 slots, 127 of 256 are free")
    assert (row.needed_slots, row.used_slots, row.nslabs, row.size_bytes) == (128, 129, 256, 262144)
    assert row.longest_free_slots == 127


def test_where_nobody_judges_it_does_not_say_why() -> None:
    row = next(row for row in swiotlb_top.open(STALL).failures(judged=False))
    assert (row.cause, row.sentence, row.longest_free_slots) == (None, None, None)


@pytest.mark.parametrize("path", [*SMALL, GROWING], ids=of)
def test_pools_devices_and_slots_add_up_to_the_account(path: Path) -> None:
    account = replayed(path).pipeline.account
    recording = swiotlb_top.open(path)
    pools = Counter(row.pool_kind for row in recording.pools())
    assert pools["transient"] == account.transient_pools
    assert pools["grown"] == account.pools_added
    assert sum(row.maps for row in recording.pools()) <= account.maps
    devices = list(recording.devices())
    assert [(row.maps, row.map_failures, row.unmaps) for row in devices] == [
        (device.maps, device.map_failures, device.unmaps) for device in account.devices.values()
    ]
    steps = list(recording.slots())
    totals = [sum(row.maps for row in steps), sum(row.map_failures for row in steps), sum(row.unmaps for row in steps)]
    assert totals == [account.maps, account.map_failures, account.unmaps]
    assert max(row.used_max_slots or 0 for row in steps) <= account.used_hiwater_slots
    assert steps[-1].used_slots == account.used_slots
    assert [row.time_ns for row in steps] == sorted({row.time_ns for row in steps})


def test_rows_say_what_a_device_is_known_by_and_none_where_the_recording_does_not(tmp_path: Path) -> None:
    recording = swiotlb_top.open(save(known_as("vda", load(STALL)), tmp_path / "known.swtrace"))
    assert {row.known_as for row in recording.devices()} == {"vda"}
    assert {row.known_as for row in recording.mappings(judged=False)} == {"vda"}
    assert {row.known_as for row in swiotlb_top.open(STALL).devices()} == {None}


@pytest.mark.parametrize("path", SMALL, ids=of)
def test_events_are_those_of_the_file_with_losses_in_their_place(path: Path) -> None:
    events = list(swiotlb_top.open(path).events())
    assert sum(not isinstance(event, Gap) for event in events) == replayed(path).pipeline.account.events


def test_after_a_loss_nobody_knows_when_what_was_held_ended() -> None:
    rows = mappings(path_of("lost-and-told"))
    (gap,) = (event for event in swiotlb_top.open(path_of("lost-and-told")).events() if isinstance(event, Gap))
    open_then = [row for row in rows if row.unmap_ns is None and row.map_ns is not None and row.map_ns < gap.exit_ns]
    unmapped_later = [row for row in rows if row.map_ns is None]
    assert open_then
    assert unmapped_later
    assert {row.hold_ns for row in open_then + unmapped_later} == {None}


@pytest.mark.parametrize("path", [FOUR_CPUS, FOUR_AREAS, STALL], ids=of)
def test_overlaps_are_counted_as_one_would_one_by_one(path: Path) -> None:
    events = list(swiotlb_top.open(path).events())[:3000]
    counted = Overlaps()
    counted.feed(events)
    counts = counted.finish()
    spans = [
        (place, event.exit_ns if event.entry_ns < 0 else event.entry_ns, event.exit_ns)
        for place, event in enumerate(events)
        if isinstance(event, Find | Map | Unmap | Free)
    ]
    for place, entry_ns, exit_ns in spans[::7]:
        others = sum(1 for at, begin, end in spans if at != place and begin <= exit_ns and end >= entry_ns)
        assert counts[place] == min(others, MOST)


def test_overlaps_do_not_depend_on_how_the_stream_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    events = list(swiotlb_top.open(FOUR_CPUS).events())
    whole, pieces = Overlaps(), Overlaps()
    whole.feed(events)
    monkeypatch.setattr("swiotlb_top.recording.overlaps._BATCH", 10)
    monkeypatch.setattr("swiotlb_top.recording.overlaps._LONGEST_NS", 50_000_000)
    for at in range(0, len(events), 7):
        pieces.feed(events[at : at + 7])
    assert pieces.finish() == whole.finish()


def test_a_cut_recording_gives_what_it_has_and_then_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.swtrace"
    path.write_bytes(GROWING.read_bytes()[:-1000])
    recording = swiotlb_top.open(path)
    for table in (recording.mappings(judged=False), recording.pools(), recording.devices(), recording.slots()):
        rows = iter(table)
        assert next(rows)
        with pytest.raises(UnreadableError, match="truncated"):
            for _ in rows:
                pass


def test_a_revision_may_be_chosen_and_must_be_known() -> None:
    rows = swiotlb_top.open(STALL, revision="6.1").mappings()
    assert {row.verdict for row in rows} <= {"agree", "disagree", "inconclusive"}
    with pytest.raises(UsageError):
        next(iter(swiotlb_top.open(STALL, revision="6.66").mappings()))


def test_what_is_no_recording_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        swiotlb_top.open(tmp_path / "nothing")


@pytest.mark.parametrize("table", ["mappings", "failures", "pools", "devices", "slots"])
def test_arrow_has_the_rows(table: str) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow, of the extra arrow, is not installed")
    rows = getattr(swiotlb_top.open(STALL), table)()
    arrow = rows.to_arrow()
    assert arrow.column_names == list(columns(TABLES[table]))
    assert [tuple(row.values()) for row in arrow.to_pylist()] == [tuple(row) for row in rows]


@pytest.mark.parametrize("table", ["mappings", "failures", "pools", "devices", "slots"])
def test_pandas_has_the_rows_and_keeps_nanoseconds(table: str) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas, of the extra of its name, is not installed")
    rows = getattr(swiotlb_top.open(FOUR_CPUS), table)()
    frame = rows.to_pandas()
    assert list(frame.columns) == list(columns(TABLES[table]))
    found = [tuple(None if pandas.isna(value) else value for value in row) for row in frame.itertuples(index=False)]
    assert found == [tuple(row) for row in rows]


@pytest.mark.parametrize(("module", "method"), [("pyarrow", "to_arrow"), ("pandas", "to_pandas")])
def test_without_the_extra_one_error_says_what_to_do(module: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(CannotError, match=f"{module} is not installed; install swiotlb-top"):
        getattr(swiotlb_top.open(STALL).pools(), method)()


def test_a_map_whose_slots_were_given_back_at_once_has_one_row_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "unreachable.swtrace"
    back = released(1310, 1390, 1)._replace(unreachable=True)
    events: list[Event] = [device(), found(1000, 1100, 0), found(1200, 1300, 1), back]
    with TraceWriter(path, Header(KERNEL, "0", "CLOCK_MONOTONIC", 0)) as writer:
        writer.state(machine())
        writer.records(packed(events))
        writer.end({}, 2000, 0)
    recording = swiotlb_top.open(path)
    rows = list(recording.mappings())
    assert [(row.slot, row.failed, row.cause, row.unmap_ns) for row in rows] == [
        (1, True, "unreachable", 1390),
        (0, False, None, None),
    ]
    (failure,) = recording.failures()
    assert (failure.time_ns, failure.cause, failure.size_bytes) == (1390, "unreachable", 2048)
