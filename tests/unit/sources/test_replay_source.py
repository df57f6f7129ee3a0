"""A recording as a source for the screen: what is shown is made of the file and the position alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import Level, headline
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.allocator import Cause
from swiotlb_top.errors import UnreadableError, UsageError
from swiotlb_top.events import Gap
from swiotlb_top.records import Kind
from swiotlb_top.reports.replay import replay
from swiotlb_top.sources import PlayOrder, recording_of
from swiotlb_top.sources.replay import FASTEST, SLOWEST, ReplaySource
from swiotlb_top.sources.sampler import frames
from swiotlb_top.sources.select import RetoldSource, open_demo
from swiotlb_top.stream import End
from tests.support.doctoring import (
    FOUR_AREAS,
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
)
from tests.support.snapshots import ScriptedSource

SECOND = 1_000_000_000
RECORDINGS = sorted((STALL.parent).glob("*.swtrace"))
TOTALS = ("maps", "map_failures", "unmaps", "growths", "pools_added", "nslabs", "used_hiwater_slots", "time_ns")


class Player:
    """A source and the time that passes for it."""

    def __init__(self, path: Path, start_s: float = 0.0, *, loops: bool = False) -> None:
        self.source = ReplaySource(path, start_ns=int(start_s * SECOND), loops=loops)

    def after(self, seconds: float) -> Snapshot:
        self.source.play(PlayOrder(passed_ns=int(seconds * SECOND)))
        return self.source.snapshot()

    def position_ns(self, seconds: float) -> int:
        shown = self.after(seconds).playback
        assert shown is not None
        return shown.position_ns

    def length_ns(self) -> int:
        shown = self.after(0).playback
        assert shown is not None
        return shown.length_ns

    def speed(self, faster: float) -> float:
        """After this much faster."""
        self.source.play(PlayOrder(faster=faster))
        shown = self.after(0).playback
        assert shown is not None
        return shown.speed

    def to_the_end(self) -> Snapshot:
        return self.after(3600)


def test_time_runs_with_the_clock() -> None:
    player = Player(STALL)
    at_once = player.after(0)
    assert at_once.map_failures + at_once.maps + at_once.unmaps <= 1
    assert player.after(0) == at_once
    later = player.after(1.5)
    assert later.time_ns - at_once.time_ns == 1.5 * SECOND
    assert 0 < later.maps < player.to_the_end().maps


@pytest.mark.parametrize("path", [STALL, FOUR_AREAS], ids=lambda path: path.stem)
def test_totals_only_grow(path: Path) -> None:
    player = Player(path)
    shown = [player.after(0.05) for _ in range(15)]
    assert len({snapshot.maps for snapshot in shown}) > 3
    for before, now in pairwise(shown):
        assert [getattr(now, total) - getattr(before, total) >= 0 for total in TOTALS] == [True] * len(TOTALS)


@pytest.mark.parametrize("path", [STALL, FOUR_AREAS], ids=lambda path: path.stem)
def test_the_last_snapshot_is_the_whole_recording_and_agrees(path: Path) -> None:
    maps = sum(1 for entry in load(path) if getattr(entry, "kind", 0) in (Kind.FIND, Kind.MAP))
    last = Player(path).to_the_end()
    assert last.maps + last.map_failures == maps
    assert last.verdict is not None
    assert last.verdict.word == "agree"
    assert last.verdict.compared == maps + last.unmaps


def test_it_ends_and_stays_there() -> None:
    player = Player(FOUR_AREAS)
    end = player.to_the_end()
    assert end.playback is not None
    assert end.playback.is_over
    assert player.after(5) == end


def test_after_its_end_it_begins_again_where_it_began_if_it_is_to() -> None:
    player = Player(FOUR_AREAS, start_s=0.3, loops=True)
    begin, end = player.after(0), player.to_the_end()
    assert (begin.watched_ns, end.playback and end.playback.is_over) == (0.3 * SECOND, True)
    again = player.after(5)
    assert replace(again, playback=None) == replace(begin, playback=None)
    assert player.to_the_end() == end


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_screen_and_the_report_say_the_same_length(path: Path) -> None:
    shown = Player(path).to_the_end().playback
    assert shown is not None
    assert shown.position_ns == shown.length_ns == replay(path).duration_ns


def test_so_they_do_where_a_loss_is_the_last_that_is_left(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    last = [at for at, entry in enumerate(entries) if isinstance(entry, Record)][-1]
    late_ns = record_at(entries, last).exit_ns + SECOND
    loss = Gap(0, late_ns, 1, "ring buffer full")
    path = save([*entries[: last + 1], loss, End({}, 0, 1)], tmp_path / "gap.swtrace")
    shown = Player(path).to_the_end().playback
    assert shown is not None
    assert shown.length_ns == replay(path).duration_ns > SECOND


def test_a_recording_cannot_begin_after_its_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the recording is 4\.18 s long: it cannot begin at 5 s"):
        ReplaySource(STALL, start_ns=5 * SECOND)
    whole = Player(STALL).to_the_end().watched_ns
    assert ReplaySource(STALL, start_ns=whole).snapshot().watched_ns == whole


@pytest.mark.parametrize("path", [STALL, GROWING, FOUR_AREAS], ids=lambda path: path.stem)
def test_what_is_shown_is_made_of_the_position_alone(path: Path) -> None:
    """Played to, stepped to, sought or gone back to: totals, rates, charts and log are the same."""
    at = 0.6
    played, stepped, sought, back = Player(path), Player(path), Player(path), Player(path, start_s=at + 0.1)
    for _ in range(6):
        stepped.after(0.1)
    sought.source.play(PlayOrder(seek_ns=int(at * SECOND)))
    back.source.play(PlayOrder(seek_ns=-SECOND // 10))
    straight = [replace(player.after(0), playback=None) for player in (stepped, sought, back, Player(path, at))]
    assert straight == [replace(played.after(at), playback=None)] * 4


def test_rates_are_of_the_recorded_second_before_however_it_was_come_to() -> None:
    for steps in (1, 4, 40):
        player = Player(STALL)
        for _ in range(steps):
            now = player.after(4 / steps)
        frame = Frame.of(now)
        assert SECOND <= frame.elapsed_ns <= 1.1 * SECOND
        assert round(frame.rate(lambda snapshot: snapshot.map_failures) or 0) in range(124, 127)


def test_stopped_it_keeps_its_rates_and_its_past() -> None:
    player = Player(STALL)
    running = player.after(2.4)
    player.source.play(PlayOrder(stop_or_go=True))
    stopped = player.after(60)
    assert stopped.recorded == running.recorded
    assert Frame.of(stopped).rate(lambda snapshot: snapshot.map_failures)


def test_time_that_was_not_recorded_dilutes_no_rate() -> None:
    end = Player(STALL).to_the_end()
    assert end.time_ns - (end.recorded.before.time_ns if end.recorded and end.recorded.before else 0) < 1.1 * SECOND
    assert round(Frame.of(end).rate(lambda snapshot: snapshot.map_failures) or 0) in range(124, 127)


def test_the_log_has_all_that_happened_before_with_the_times_when_it_did() -> None:
    log = Frame.of(Player(GROWING, start_s=4).after(0)).journal
    pools = [pool for pool in Player(GROWING, start_s=4).after(0).pools if not pool.default]
    added = sorted(entry.time_ns for entry in log if entry.word == "pool added")
    # It comes to the list some microseconds after it was allocated.
    came = sorted(pool.since_ns for pool in pools)
    assert [(ns - since_ns) // 1_000_000 for ns, since_ns in zip(added, came, strict=True)] == [0] * 4
    assert [entry.time_ns for entry in log] == sorted((entry.time_ns for entry in log), reverse=True)


def test_the_log_says_when_a_device_began_to_fail_and_why() -> None:
    (entry,) = Frame.of(Player(STALL, start_s=4).after(0)).journal
    assert (entry.word, entry.sentence) == (
        "failing",
        "0000:00:04.0 (virtio-pci): needs 128 slots, 127 of 256 are free",
    )
    assert entry.time_ns - Player(STALL).after(0).time_ns < 0.1 * SECOND


def test_a_recording_that_was_cut_is_shown_up_to_there_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.swtrace"
    path.write_bytes(GROWING.read_bytes()[:-100_000])
    end = Player(path).to_the_end()
    assert 0 < end.maps < Player(GROWING).to_the_end().maps
    assert end.playback is not None
    assert end.playback.is_over
    assert "truncated" in end.playback.damage
    assert headline(Frame.of(end)).level is Level.UNCLEAR
    with pytest.raises(UnreadableError, match="truncated"):
        [*frames(ReplaySource(path), 10.0, None)]


def test_years_of_nothing_between_two_events_are_passed_over(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    late = change(entries, [at for at, entry in enumerate(entries) if isinstance(entry, Record)][-1], exit_ns=1 << 60)
    end = Player(save(late, tmp_path / "late.swtrace")).after(2e9)
    assert end.playback is not None
    assert end.playback.is_over


def test_it_plays_faster_and_slower_within_limits() -> None:
    player = Player(STALL)
    player.source.play(PlayOrder(faster=4.0))
    assert player.position_ns(0.5) == 2.0 * SECOND
    player.source.play(PlayOrder(faster=0.125))
    assert player.position_ns(0.5) == 2.25 * SECOND
    assert player.speed(1e9) == FASTEST
    assert player.speed(1e-12) == SLOWEST


def test_stopped_it_stands_and_goes_on_from_there() -> None:
    player = Player(STALL)
    before = player.after(1)
    player.source.play(PlayOrder(stop_or_go=True))
    stood = player.after(60)
    assert (stood.time_ns, stood.maps) == (before.time_ns, before.maps)
    assert stood.playback is not None
    assert stood.playback.stopped
    player.source.play(PlayOrder(stop_or_go=True))
    assert player.after(0.5).time_ns - before.time_ns == 0.5 * SECOND


def test_seeking_there_shows_what_waiting_shows() -> None:
    waited, sought = Player(FOUR_AREAS), Player(FOUR_AREAS)
    sought.source.play(PlayOrder(seek_ns=SECOND // 10))
    assert sought.after(0) == waited.after(0.1)


def test_seeking_back_is_as_if_it_had_only_come_so_far() -> None:
    there, back = Player(STALL), Player(STALL)
    back.after(3)
    back.source.play(PlayOrder(seek_ns=-2 * SECOND))
    there.after(1)
    once, again = there.after(0), back.after(0)
    assert (again.time_ns, again.maps, again.map_failures) == (once.time_ns, once.maps, once.map_failures)
    assert again.devices == once.devices


def test_nobody_seeks_before_the_beginning_or_beyond_the_end() -> None:
    player = Player(STALL)
    player.source.play(PlayOrder(seek_ns=-99 * SECOND))
    assert player.position_ns(0) == 0
    player.source.play(PlayOrder(seek_ns=99 * SECOND))
    shown = player.after(0).playback
    assert shown is not None
    assert shown.position_ns == shown.length_ns == player.length_ns()


def test_failures_in_a_row_are_one_line_with_the_reference_s_word() -> None:
    last = Player(STALL).to_the_end()
    assert {failure.reference for failure in last.failures} == {"agrees"}
    assert sum(failure.times for failure in last.failures) == min(last.map_failures, 500)
    assert (last.failures[0].cause, last.failures[0].needed_slots) == (Cause.EXHAUSTED, 128)


def test_pools_tell_where_they_are_free() -> None:
    player = Player(STALL)
    (pool,) = player.after(1).pools
    assert pool.slots is not None
    assert pool.slots.free_slots == pool.nslabs - pool.used_slots
    assert pool.slots.nslabs == pool.nslabs == 256
    assert pool.longest_free_slots == pool.slots.longest_free_slots


def test_pools_that_grew_have_an_age_and_the_first_is_as_old_as_the_kernel() -> None:
    shown = Player(GROWING).after(2)
    assert shown.pools[-1].since_ns == 0
    assert all(0 < pool.since_ns <= shown.time_ns for pool in shown.pools[:-1])


def test_devices_hold_the_slots_of_the_pools() -> None:
    player = Player(FOUR_AREAS)
    shown = player.after(0.35)
    assert sum(device.held_slots for device in shown.devices) == shown.used_slots
    device = max(shown.devices, key=lambda found: found.maps)
    assert sum(device.sizes) == device.maps + device.map_failures
    assert 0 < device.map_p50_ns <= device.map_p99_ns
    assert device.to_device_bytes + device.from_device_bytes == device.unmapped_bytes


def test_why_maps_fail_is_known_while_it_runs() -> None:
    player = Player(STALL)
    player.after(1)
    (disk,) = player.after(2).devices
    assert dict(disk.causes) == {Cause.EXHAUSTED: disk.map_failures}
    assert disk.last_failure == "needs 128 slots, 127 of 256 are free"
    assert (disk.name, disk.driver) == ("0000:00:04.0", "virtio-pci")


def test_at_the_end_every_failure_is_explained() -> None:
    (disk,) = Player(STALL).to_the_end().devices
    assert disk.causes == ((Cause.EXHAUSTED, disk.map_failures),)


def test_growth_shows_when_it_came() -> None:
    player = Player(GROWING)
    assert player.after(0).nslabs == 512
    pools = player.after(1).pools
    assert len(pools) > 1
    assert pools[-1].default
    assert not any(pool.default for pool in pools[:-1])


def test_it_says_what_it_is() -> None:
    shown = ReplaySource(STALL).snapshot()
    assert (shown.source, shown.reason) == ("replay", f"a recording of {shown.kernel_release} (stall.swtrace)")


def test_a_gap_makes_what_follows_inconclusive_and_not_wrong(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    at = find(entries, Kind.FIND, succeeded, nth=100)
    gapped = insert(drop(entries, at), at, Gap(0, 1, 5, "ring buffer full"))
    last = Player(save(gapped, tmp_path / "gap.swtrace")).to_the_end()
    assert last.lost == 5
    assert last.verdict is not None
    assert (last.verdict.word, last.verdict.disagree) == ("inconclusive", 0)


def test_a_recording_without_events_cannot_be_shown(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    path = save(cut(entries, states(entries)[0] + 1), tmp_path / "nothing.swtrace")
    with pytest.raises(UnreadableError, match="holds no events"):
        ReplaySource(path)


def test_events_nobody_knows_are_a_complaint_and_no_crash(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    path = save(change(entries, find(entries, Kind.FIND, nth=100), kind=77), tmp_path / "newer.swtrace")
    end = Player(path).to_the_end()
    assert end.maps > 0
    assert end.playback is not None
    assert "the recording holds events this swiotlb-top does not know" in end.playback.damage
    report = replay(path)
    assert report.damage == end.playback.damage
    assert (report.pipeline.account.maps, report.duration_ns) == (end.maps, end.playback.length_ns)


def test_who_shows_a_recording_knows_its_file_and_who_shows_a_kernel_knows_none() -> None:
    assert recording_of(ReplaySource(STALL)) == STALL
    demo = recording_of(open_demo())
    assert demo
    assert demo.name == "growing.swtrace"
    assert recording_of(ScriptedSource([])) is None
    assert recording_of(RetoldSource(ScriptedSource([]), lambda snapshot: snapshot)) is None
