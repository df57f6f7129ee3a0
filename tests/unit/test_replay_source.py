"""A recording as a source for the screen: in the time it was recorded in, over and over."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import UnreadableError
from swiotlb_top.events import Gap, Kind
from swiotlb_top.sources.replay import ReplaySource, open_replay
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
    shown = open_replay(STALL).snapshot()
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
        open_replay(path)


def test_events_nobody_knows_are_a_complaint_and_no_crash(tmp_path: Path) -> None:
    entries = load(FOUR_AREAS)
    path = save(change(entries, find(entries, Kind.FIND, nth=100), kind=77), tmp_path / "newer.swtrace")
    with pytest.raises(UnreadableError, match=r"newer\.swtrace holds events this swiotlb-top does not know"):
        Player(path).to_the_end()
