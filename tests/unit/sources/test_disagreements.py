"""From one disagreement of a recording to another: each is reached and told with both sides, and none is told of."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.journal import Entry
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.reports.replay import replay
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.disagreements import neighbour
from swiotlb_top.sources.replay import ReplaySource
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.view import View
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_CPUS, STALL
from tests.support.drawn import assert_golden, plain_text

NEXT, PREVIOUS = PlayOrder(to_disagreement=1), PlayOrder(to_disagreement=-1)
FAULTY = sorted((STALL.parent / "faulty").glob("*.swtrace"))
WRONG = [FAULTY[0], FAULTY[-1], path_of("one-slot-further"), path_of("searches-swapped")]


def disagreements(snapshot: Snapshot) -> list[Entry]:
    assert snapshot.recorded is not None
    return [entry for entry in snapshot.recorded.journal if entry.word == "disagreement"]


def position_ns(snapshot: Snapshot) -> int:
    assert snapshot.playback is not None
    return snapshot.playback.position_ns


def walked(source: ReplaySource, order: PlayOrder) -> list[Snapshot]:
    """What is shown at each stop, until there is no other."""
    shown: list[Snapshot] = []
    while True:
        source.play(order)
        now = source.snapshot()
        if any("there is no disagreement" in note for note in now.notes):
            return shown
        shown.append(now)


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_every_disagreement_that_replay_finds_is_reached_and_has_both_sides(path: Path) -> None:
    source = ReplaySource(path)
    there = walked(source, NEXT)
    assert there
    assert all(len(disagreements(one)) > len(disagreements(before)) for before, one in pairwise(there))
    told = disagreements(there[-1])
    assert len(told) <= replay(path).findings.disagree
    assert all("; expected " in entry.sentence for entry in told)
    assert all(entry.time_ns <= there[-1].time_ns for entry in told)
    for one in there:
        assert one.notes[-1].startswith("disagreement at ")
        assert one.notes[-1].partition("s: ")[2] in {entry.sentence for entry in disagreements(one)}
    assert there[0].verdict is not None
    assert there[0].verdict.disagree > 0
    back = walked(source, PREVIOUS)
    assert [position_ns(one) for one in back] == [position_ns(one) for one in reversed(there[:-1])]


@pytest.mark.parametrize("path", [FOUR_CPUS, STALL], ids=lambda path: path.stem)
def test_where_there_is_none_it_is_said_and_nothing_moves(path: Path) -> None:
    source = ReplaySource(path)
    source.play(PlayOrder(seek_ns=500_000_000, stop_or_go=True))
    before = source.snapshot()
    for order in (NEXT, PREVIOUS):
        source.play(order)
        now = source.snapshot()
        assert now.notes == (*before.notes, "there is no disagreement in this recording")
        assert position_ns(now) == position_ns(before)
    source.play(PlayOrder(passed_ns=1))
    assert source.snapshot().notes != before.notes
    source.play(PlayOrder(faster=2.0))
    assert source.snapshot().notes == before.notes


def test_it_stops_there_and_two_keys_before_a_frame_are_two_steps() -> None:
    once, twice = ReplaySource(FAULTY[0]), ReplaySource(FAULTY[0])
    stops = walked(once, NEXT)
    playback = stops[0].playback
    assert playback is not None
    assert playback.stopped
    for _ in stops[:2]:
        twice.play(NEXT)
    assert position_ns(twice.snapshot()) == position_ns(stops[:2][-1])


def test_the_screen_at_a_disagreement() -> None:
    source = ReplaySource(path_of("one-slot-further"))
    source.play(NEXT)
    drawn = render(Frame.of(source.snapshot(), sequence=1), View(focus="log"), UNICODE, 200, 40)
    assert_golden("disagreement-200", plain_text(drawn))


def test_the_screen_where_there_is_none() -> None:
    source = ReplaySource(FOUR_CPUS)
    source.play(NEXT)
    drawn = render(Frame.of(source.snapshot(), sequence=1), View(focus="log"), UNICODE, 120, 30)
    assert_golden("disagreement-none-120", plain_text(drawn))


@given(st.sets(st.integers(0, 50)), st.integers(0, 50))
def test_a_neighbour_is_the_nearest_on_that_side(positions: set[int], here: int) -> None:
    known = sorted(positions)
    assert neighbour(known, here, 1) == min((one for one in known if one > here), default=None)
    assert neighbour(known, here, -1) == max((one for one in known if one < here), default=None)
