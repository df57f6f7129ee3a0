"""A recording as a source for the screen: in the time it was recorded in, over and over."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Gap, Kind
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.replay import FASTEST, SLOWEST, ReplaySource
from tests.doctoring import FOUR_AREAS, GROWING, STALL, change, cut, drop, find, insert, load, save, states, succeeded

SECOND = 1_000_000_000
TOTALS = ("maps", "map_failures", "unmaps", "growths", "pools_added", "nslabs", "used_hiwater_slots", "time_ns")


class Clock:
    """Nanoseconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_ns = 77 * SECOND

    def __call__(self) -> int:
        return self.now_ns


class Player:
    """A source and the clock that drives it."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.source = ReplaySource(path, self.clock)

    def after(self, seconds: float) -> Snapshot:
        self.clock.now_ns += int(seconds * SECOND)
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
    shown = [player.after(0.02) for _ in range(15)]
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


def test_it_begins_anew_after_its_end() -> None:
    player = Player(FOUR_AREAS)
    begin, end = player.after(0), player.to_the_end()
    again = player.after(5)
    assert (again.time_ns, again.maps, again.nslabs) == (begin.time_ns, begin.maps, begin.nslabs)
    assert player.to_the_end().maps == end.maps


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
    assert (last.failures[0].cause, last.failures[0].needed_slots) == ("exhausted", 128)


def test_pools_tell_where_they_are_free() -> None:
    player = Player(STALL)
    (pool,) = player.after(1).pools
    assert pool.slots is not None
    assert pool.slots.free_slots == pool.nslabs - pool.used_slots
    assert sum(pool.slots.set_nslabs) == pool.nslabs == 256
    assert pool.longest_free_slots == pool.slots.longest_free_slots


def test_pools_that_grew_have_an_age_and_the_first_is_as_old_as_the_kernel() -> None:
    shown = Player(GROWING).after(2)
    assert shown.pools[-1].since_ns == 0
    assert all(0 < pool.since_ns <= shown.time_ns for pool in shown.pools[:-1])


def test_devices_hold_the_slots_of_the_pools() -> None:
    player = Player(FOUR_AREAS)
    shown = player.after(0.05)
    assert sum(device.held_slots for device in shown.devices) == shown.used_slots
    device = max(shown.devices, key=lambda found: found.maps)
    assert sum(device.sizes) == device.maps + device.map_failures
    assert 0 < device.map_p50_ns <= device.map_p99_ns
    assert device.to_device_bytes + device.from_device_bytes == device.unmapped_bytes


def test_why_maps_fail_is_known_while_it_runs() -> None:
    player = Player(STALL)
    player.after(1)
    (disk,) = player.after(2).devices
    assert dict(disk.causes) == {"exhausted": disk.map_failures}
    assert disk.last_failure == "needs 128 slots, 127 of 256 are free"
    assert (disk.name, disk.driver) == ("0000:00:04.0", "virtio-pci")


def test_at_the_end_every_failure_is_explained() -> None:
    (disk,) = Player(STALL).to_the_end().devices
    assert disk.causes == (("exhausted", disk.map_failures),)


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
    with pytest.raises(UnreadableError, match="the recording holds events this swiotlb-top does not know"):
        Player(path).to_the_end()
