"""A recording as a Perfetto trace: every mapping is a slice, and each counter ends where the account does."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import swiotlb_top
from swiotlb_top.convert.lanes import Lanes
from swiotlb_top.convert.perfetto import perfetto_pieces
from swiotlb_top.convert.protobuf import varint
from swiotlb_top.reports.replay import ReplayReport, replay
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, STALL
from tests.support.perfetto_messages import BEGIN, COUNTER, END, INSTANT, parsed

RECORDINGS = [FOUR_AREAS, FOUR_CPUS, STALL, path_of("lost-and-told")]


@cache
def written(path: Path) -> Any:
    recording = swiotlb_top.open(path)
    return parsed(b"".join(perfetto_pieces(recording.happenings(judged=True), recording.clock, "swiotlb")))


@cache
def replayed(path: Path) -> ReplayReport:
    return replay(path)


def events(path: Path, kind: int) -> list[Any]:
    return [packet for packet in written(path).packet if packet.track_event.type == kind]


@cache
def tracks(path: Path) -> dict[int, Any]:
    described = (packet.track_descriptor for packet in written(path).packet if packet.HasField("track_descriptor"))
    return {track.uuid: track for track in described}


def about(packet: Any) -> dict[str, Any]:
    return {
        one.name: one.string_value if one.HasField("string_value") else one.int_value
        for one in packet.track_event.debug_annotations
    }


def values(path: Path, name: str) -> list[int]:
    return [
        packet.track_event.counter_value
        for packet in events(path, COUNTER)
        if tracks(path)[packet.track_event.track_uuid].name == name
    ]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_slices_and_failures_are_as_many_as_replay_counts(path: Path) -> None:
    account = replayed(path).pipeline.account
    failed = Counter(packet.track_event.name for packet in events(path, INSTANT))
    assert len(events(path, BEGIN)) == account.maps
    assert sum(number for name, number in failed.items() if name.startswith("failed: ")) == account.map_failures
    ends = len(events(path, END)) + failed["unmap of what was mapped before"]
    assert ends == account.unmaps
    assert failed["growth"] + failed["growth: no memory"] == account.growths
    verdicts = Counter(about(packet).get("verdict") for packet in events(path, BEGIN) + events(path, INSTANT))
    verdicts += Counter(about(packet).get("unmap_verdict") for packet in events(path, END) + events(path, INSTANT))
    assert verdicts["agree"] == replayed(path).findings.agree


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_lane_has_one_mapping_at_a_time_below_its_device(path: Path) -> None:
    in_lane: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for packet in written(path).packet:
        if packet.track_event.type in (BEGIN, END):
            in_lane[packet.track_event.track_uuid].append((packet.timestamp, packet.track_event.type))
    for lane, found in in_lane.items():
        assert [time_ns for time_ns, _ in found] == sorted(time_ns for time_ns, _ in found)
        assert all(kind == (BEGIN, END)[number % 2] for number, (_, kind) in enumerate(found))
        device = tracks(path)[tracks(path)[lane].parent_uuid]
        assert device.name.startswith("0000:00:0")


@pytest.mark.parametrize("path", RECORDINGS[:3], ids=lambda path: path.stem)
def test_counters_end_where_the_account_does_and_reach_its_peak(path: Path) -> None:
    account = replayed(path).pipeline.account
    assert values(path, "all pools used")[-1] == account.used_slots
    assert max(values(path, "all pools peak")) == max(values(path, "all pools used"))
    for pool in account.pools.values():
        assert values(path, f"pool {pool.start:#x} used")[-1] == pool.used_slots
        if pool.nareas > 1:
            last = [values(path, f"pool {pool.start:#x} area {area} used")[-1:] or [0] for area in range(pool.nareas)]
            assert sum(value for (value,) in last) == pool.used_slots


def test_a_failure_says_why() -> None:
    failure = next(packet for packet in events(STALL, INSTANT))
    assert failure.track_event.name == "failed: exhausted"
    assert about(failure)["sentence"] == "needs 128 slots, 127 of 256 are free"
    assert tracks(STALL)[failure.track_event.track_uuid].name == "0000:00:04.0 (virtio-pci)"


def test_arrows_lead_from_what_found_no_room_to_the_growth_after_it() -> None:
    begins = {flow: packet for packet in events(FOUR_CPUS, BEGIN) for flow in packet.track_event.flow_ids}
    ends = [(flow, packet) for packet in events(FOUR_CPUS, INSTANT) for flow in packet.track_event.terminating_flow_ids]
    assert len(ends) == replayed(FOUR_CPUS).pipeline.account.transient_pools == len(begins)
    for flow, growth in ends:
        assert growth.track_event.name == "growth"
        assert begins[flow].timestamp < growth.timestamp


def test_the_clock_is_the_recordings_and_is_laid_on_the_wall_clock() -> None:
    first = written(STALL).packet[0]
    clock = swiotlb_top.open(STALL).clock
    assert {one.clock_id: one.timestamp for one in first.clock_snapshot.clocks} == {
        3: clock.monotonic_ns,
        1: clock.realtime_ns,
    }
    assert first.clock_snapshot.primary_trace_clock == 3
    assert {packet.timestamp_clock_id for packet in events(STALL, BEGIN)} == {3}


def test_a_loss_is_an_instant_and_what_was_held_then_stays_open() -> None:
    path = path_of("lost-and-told")
    (loss,) = (packet for packet in events(path, INSTANT) if "lost" in packet.track_event.name)
    assert loss.track_event.name == "4 events lost: ring buffer full"
    assert len(events(path, BEGIN)) > len(events(path, END))


def test_the_first_free_lane_is_taken_unless_its_mapping_ended_later() -> None:
    made = iter(range(1, 9))
    lanes = Lanes(lambda: next(made))
    assert [lanes.take(10), lanes.take(11)] == [1, 2]
    lanes.give_back(2, 20)
    lanes.give_back(1, 30)
    assert lanes.take(25) == 3
    assert [lanes.take(30), lanes.take(31)] == [1, 2]


@pytest.mark.parametrize(
    ("number", "data"), [(0, b"\0"), (127, b"\x7f"), (300, b"\xac\x02"), (-1, b"\xff" * 9 + b"\x01")]
)
def test_numbers_are_written_as_protobuf_has_them(number: int, data: bytes) -> None:
    assert varint(number) == data
