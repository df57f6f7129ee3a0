"""Frames in their time: what is compared with what, and what a failing source does."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import islice

import pytest

from swiotlb_top.accounting.finding import Kind
from swiotlb_top.accounting.frame import HISTORY, Frame, Recorded
from swiotlb_top.accounting.past import Past
from swiotlb_top.accounting.snapshot import Playback, Snapshot
from swiotlb_top.errors import CannotError
from swiotlb_top.findings.noticing import Noticing
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.sampler import Sampler, frames
from tests.support.snapshots import (
    DEBUGFS,
    DISK,
    NVME,
    PLAYED,
    QUIET,
    SECOND_NS,
    STALLED,
    STALLING,
    STARVED,
    ScriptedSource,
)

DEADLINE_S = 300.0


def wait_for_frame(sampler: Sampler, sequence: int) -> Frame:
    deadline = time.monotonic() + DEADLINE_S
    while sampler.frame.sequence < sequence:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return sampler.frame


def test_the_first_frame_has_the_rates_of_one_interval() -> None:
    (frame,) = frames(ScriptedSource([QUIET, STALLED]), 0.01, 1)
    assert frame.rate(lambda snapshot: snapshot.map_failures) == 230.0


def test_without_an_interval_nothing_waits_and_there_are_no_rates() -> None:
    (frame,) = frames(ScriptedSource([STALLED]), 0.0, 1)
    assert frame.now is STALLED
    assert frame.rate(lambda snapshot: snapshot.maps) is None
    assert frame.device_rate(DISK, lambda device: device.maps) is None


def test_each_frame_is_compared_with_the_one_before() -> None:
    later = replace(STALLED, time_ns=STALLED.time_ns + SECOND_NS)
    first, second = islice(frames(ScriptedSource([QUIET, STALLED, later]), 0.001, None), 2)
    assert (first.before, second.before, second.now) == (QUIET, STALLED, later)


def test_rates_are_by_the_snapshots_clock_not_by_ours() -> None:
    slow = replace(STALLED, time_ns=QUIET.time_ns + 10 * SECOND_NS)
    assert Frame(slow, QUIET).rate(lambda snapshot: snapshot.map_failures) == 23.0


def test_a_recording_that_begins_anew_has_no_rates_for_a_frame() -> None:
    assert Frame(QUIET, STALLED).rate(lambda snapshot: snapshot.maps) is None


def test_what_a_source_cannot_count_has_no_rate() -> None:
    assert Frame(replace(DEBUGFS, time_ns=STALLED.time_ns), DEBUGFS).rate(lambda snapshot: snapshot.maps) is None


def test_a_device_that_was_not_there_before_started_from_nothing() -> None:
    assert Frame(STALLED, QUIET).device_rate(DISK, lambda device: device.maps) == 14_000.0


def test_a_failing_source_keeps_its_last_numbers_and_says_so() -> None:
    with Sampler(ScriptedSource([STALLED, CannotError("gone"), STALLED]), 0.01) as sampler:
        assert wait_for_frame(sampler, 1).now is STALLED
        assert wait_for_frame(sampler, 3).failure == ""


def test_an_order_reaches_the_player_at_once_and_the_next_frame_is_after_it() -> None:
    source = ScriptedSource([QUIET, STALLED])
    with Sampler(source, 3600.0) as sampler:
        sampler.play(PlayOrder(stop_or_go=True))
        assert wait_for_frame(sampler, 1).now is STALLED
    assert source.orders == [PlayOrder(stop_or_go=True)]


def test_an_order_to_a_source_that_plays_nothing_is_no_mistake() -> None:
    class Kernel:
        def snapshot(self) -> Snapshot:
            return STALLED

        def close(self) -> None:
            """Nothing is open."""

    with Sampler(Kernel(), 3600.0) as sampler:
        sampler.play(PlayOrder(seek_ns=1))
        assert wait_for_frame(sampler, 1).now is STALLED


def test_a_frame_knows_those_before_it_and_no_more_than_two_minutes_of_them() -> None:
    frame = Frame(QUIET)
    for second in range(1, HISTORY + 50):
        frame = frame.then(replace(QUIET, time_ns=QUIET.time_ns + second * SECOND_NS, maps=second * 10))
    assert len(frame.history) == HISTORY
    assert frame.before
    assert frame.history[-1] == Past.of(frame.before)
    assert set(frame.past(lambda snapshot: snapshot.maps)) == {10.0}


def test_who_looks_at_the_latest_only_keeps_nothing_before_it() -> None:
    with Sampler(ScriptedSource([QUIET, STALLED]), 0.01, follow=Frame.alone) as sampler:
        frame = wait_for_frame(sampler, 3)
    assert (frame.now, frame.before, frame.history, frame.journal) == (STALLED, None, (), ())


def test_every_frame_is_noticed_the_first_one_too() -> None:
    with Sampler(ScriptedSource([STARVED.now]), 0.01, notice=Noticing()) as sampler:
        assert [finding.kind for finding in sampler.frame.findings] == [Kind.FULL, Kind.NEARLY_FULL]
        assert wait_for_frame(sampler, 2).findings


def test_of_what_is_past_only_totals_are_kept() -> None:
    past = Past.of(STALLED)
    assert (past.maps, past.map_failures, past.used_slots) == (STALLED.maps, STALLED.map_failures, STALLED.used_slots)
    assert past.mapped_bytes == DISK.mapped_bytes + NVME.mapped_bytes
    assert past.device(DISK.dev) == (DISK.maps, DISK.map_failures, DISK.mapped_bytes, DISK.held_slots)
    assert past.device(1) == (0, 0, 0, 0)
    assert Past.of(DEBUGFS).mapped_bytes == -1


def test_a_recording_brings_its_past_with_it_whatever_was_shown_before() -> None:
    past = Recorded(before=QUIET, history=(Past.of(QUIET),), journal=STALLING.journal)
    now = replace(PLAYED, recorded=past)
    for frame in (Frame.of(now), Frame(STALLED, QUIET).then(now)):
        assert (frame.before, frame.history, frame.journal) == (past.before, past.history, past.journal)


def test_frames_of_a_recording_are_so_much_of_it_apart_and_end_with_it() -> None:
    source = ScriptedSource([at(0), at(4), at(8)])
    assert [frame.now for frame in frames(source, 4.0, None)] == [at(4), at(8)]
    assert source.told == [PlayOrder(passed_ns=4 * SECOND_NS)] * 2


def test_a_recording_that_is_over_gives_no_more_frames_than_one_asks_for_or_it_has() -> None:
    assert [frame.now for frame in frames(ScriptedSource([at(0), at(4), at(8)]), 4.0, 1)] == [at(4)]
    assert [frame.now for frame in frames(ScriptedSource([at(8)]), 4.0, 3)] == [at(8)]


def test_time_passes_for_a_recording_before_an_order_is_obeyed() -> None:
    source = ScriptedSource([at(0)])
    with Sampler(source, 3600.0) as sampler:
        sampler.play(PlayOrder(stop_or_go=True))
        wait_for_frame(sampler, 1)
    passed, order = source.told[:2]
    assert passed.passed_ns > 0
    assert order == PlayOrder(stop_or_go=True)


def at(seconds: int) -> Snapshot:
    """A recording of 8 s at a position."""
    playback = Playback(seconds * SECOND_NS, 8 * SECOND_NS, 1.0, False)
    return replace(PLAYED, playback=playback, recorded=Recorded(None, (), ()))


def test_the_reason_of_a_failure_is_kept_while_it_lasts() -> None:
    with Sampler(ScriptedSource([STALLED, CannotError("gone")]), 0.01) as sampler:
        frame = wait_for_frame(sampler, 2)
    assert (frame.now, frame.failure) == (STALLED, "gone")


def test_a_first_failure_is_the_callers() -> None:
    with pytest.raises(CannotError, match="gone"):
        Sampler(ScriptedSource([CannotError("gone")]), 0.01)


def test_a_bug_is_not_hidden_in_the_thread() -> None:
    with Sampler(ScriptedSource([STALLED, KeyError("bug")]), 0.01) as sampler, pytest.raises(KeyError):
        wait_for_frame(sampler, 1)


def test_a_source_that_does_not_answer_is_said_to_be_late() -> None:
    answer = threading.Event()

    class Stuck(ScriptedSource):
        def snapshot(self) -> Snapshot:
            taken = super().snapshot()
            if taken is STALLED:
                answer.wait(DEADLINE_S)
            return taken

    with Sampler(Stuck([QUIET, STALLED]), 0.01, patience_s=0.05) as sampler:
        deadline = time.monotonic() + DEADLINE_S
        while not sampler.frame.failure:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert sampler.frame.now is QUIET
        assert sampler.frame.failure.startswith("no answer for ")
        answer.set()
        assert wait_for_frame(sampler, 1).failure == ""
