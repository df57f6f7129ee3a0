"""The moment of a failure: it is shown as it was, whatever comes after it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from swiotlb_top.accounting import onlooker
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.onlooker import EVERY_NS, KEPT, Scenes
from swiotlb_top.accounting.scene import Scene
from swiotlb_top.accounting.snapshot import Answer, FailureView
from swiotlb_top.accounting.words import FAILURE
from swiotlb_top.allocator import Cause
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.replay import ReplaySource
from swiotlb_top.tui.failure_page import failure_page
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import press
from swiotlb_top.tui.panels import PANELS
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.view import Page, View
from tests.support.doctoring import STALL
from tests.support.drawn import assert_golden, plain_text
from tests.support.histories import device, found, judging, searched_in_vain
from tests.support.screen_docs import SHOWN_NS, frame_at
from tests.support.slots import slots_with
from tests.support.snapshots import DEFAULT_POOL, PLAYED, QUIET, STALLED, STALLING

UNALIGNED = STALL.parent / "unaligned.swtrace"
ON_FAILURES = View(focus="failures")


def opened(frame: Frame) -> View:
    return press(ON_FAILURES, frame, "enter")


def scene_of(recording: Path, position_ns: int = SHOWN_NS) -> Scene:
    scene = frame_at(recording, position_ns).now.failures[0].scene
    assert scene is not None
    return scene


def told(frame: Frame, failure: FailureView) -> str:
    return plain_text(failure_page(frame, View(page=Page.FAILURE, failure=failure), UNICODE, 120))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_the_stalled_disk_needs_one_slot_more_than_its_longest_run_has(width: int, height: int) -> None:
    frame = frame_at(STALL, SHOWN_NS)
    assert_golden(f"failure-{width}", plain_text(render(frame, opened(frame), UNICODE, width, height)))


def test_the_slots_are_those_of_that_moment_and_not_of_now() -> None:
    frame = frame_at(STALL, SHOWN_NS)
    assert frame.now.used_slots == 0
    (pool,) = scene_of(STALL).pools
    assert (pool.used_slots, pool.slots.longest_free_run) == (129, range(1, 128))
    assert {(one.slot, one.nslots) for one in pool.slots.mappings or ()} == {(0, 1), (128, 128)}


def test_it_stays_that_failure_while_others_follow() -> None:
    source = ReplaySource(STALL, start_ns=2_000_000_000)
    before = Frame.of(source.snapshot())
    view = opened(before)
    source.play(PlayOrder(seek_ns=1_500_000_000))
    after = before.then(source.snapshot())
    assert after.now.failures[0].scene != before.now.failures[0].scene
    assert failure_page(after, view, UNICODE, 120) == failure_page(before, view, UNICODE, 120)


def test_the_latest_moment_is_on_the_screen_where_slots_look_free_again() -> None:
    frame = frame_at(STALL, SHOWN_NS)
    lines = plain_text(render(frame, View(), UNICODE, 120, 50)).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("─ MOMENT"))
    assert "1.0s ago: 0000:00:04.0 needs 128 slots, 127 of 256 are free" in lines[at]
    assert lines[at + 1].startswith("  0 A──────")


def test_where_no_map_has_failed_there_is_no_moment_and_tab_does_not_stop_at_it() -> None:
    assert "MOMENT" not in plain_text(render(STALLING, View(), UNICODE, 120, 50))
    assert press(ON_FAILURES, STALLING, "tab").focus == "log"
    assert press(ON_FAILURES, frame_at(STALL, SHOWN_NS), "tab").focus == "moment"


def test_of_several_pools_the_moment_has_the_one_with_the_longest_run() -> None:
    scene = scene_of(STALL)
    (pool,) = scene.pools
    better = pool._replace(longest_free_slots=128, slots=slots_with(512, 1, []))
    failure = replace(STALLED.failures[0], scene=replace(scene, pools=(pool, better, pool)))
    drawn = PANELS["moment"].draw(Frame(replace(STALLED, failures=(failure,))), View(), UNICODE, 80, None)
    assert drawn[-2].plain == "448 " + "·" * 64


def test_escape_goes_back_to_the_failures() -> None:
    frame = frame_at(STALL, SHOWN_NS)
    assert press(opened(frame), frame, "escape").page is Page.PANELS


def test_without_a_failure_there_is_nothing_to_open() -> None:
    assert opened(Frame(QUIET)) == ON_FAILURES


def test_of_failures_that_are_alike_the_slots_are_looked_at_once_a_second() -> None:
    source = ReplaySource(STALL)
    looked_ns = []
    for _ in range(40):
        source.play(PlayOrder(seek_ns=100_000_000))
        looked_ns += [f.scene.time_ns for f in source.snapshot().failures if f.scene]
    times = sorted(set(looked_ns))
    assert len(times) == 4
    assert all(later - earlier >= EVERY_NS for earlier, later in pairwise(times))


def test_what_is_told_of_a_moment_is_the_same_however_it_was_come_to() -> None:
    source = ReplaySource(STALL)
    for seek_ns in (3_900_000_000, -2_000_000_000, 500_000_000):
        source.play(PlayOrder(seek_ns=seek_ns))
        source.snapshot()
    assert source.snapshot().failures == ReplaySource(STALL, start_ns=2_400_000_000).snapshot().failures


def test_that_the_longest_run_is_too_short_is_told_only_where_that_is_the_reason() -> None:
    frame = frame_at(UNALIGNED, 2_000_000_000)
    misaligned = next(failure for failure in frame.now.failures if failure.cause is Cause.MISALIGNED)
    assert "why       misaligned" in told(frame, misaligned)
    assert "short by" not in told(frame, misaligned)
    stalled = frame_at(STALL, SHOWN_NS)
    assert "short by  1 slot: the longest run has 127" in told(stalled, stalled.now.failures[0])


def test_a_failure_between_two_looks_shows_the_look_before_it_and_says_when_that_was() -> None:
    frame = frame_at(UNALIGNED, 2_000_000_000)
    assert all(failure.scene for failure in frame.now.failures)
    between = next(f for f in frame.now.failures if f.scene and f.scene.time_ns < f.time_ns)
    when = " ".join(told(frame, between).split("asked")[0].split())
    assert re.search(r"when \d\.\d+ s into .* on CPU \d; the latest that failed alike: 1\.\d+ s into", when)


@pytest.mark.parametrize(
    ("reference", "why"),
    [("agrees", "once a second"), ("disagrees", "finds slots for this map"), ("not asked", "was not asked")],
)
def test_where_nobody_looked_the_reason_is_said(reference: Answer, why: str) -> None:
    failure = replace(STALLED.failures[0], reference=reference, scene=None)
    page = told(STALLING, failure)
    assert "asked     262,144 bytes: 128 slots in one run" in page
    assert why in page
    assert "SLOTS" not in page


def test_a_live_failure_is_told_by_its_age_and_a_recorded_one_by_its_position() -> None:
    failure = replace(STALLED.failures[0], scene=scene_of(STALL))
    assert "when      0.1s ago on CPU 3, one of 228 in a row" in told(STALLING, replace(failure, scene=None))
    assert "swiotlb-top record -o FILE" in told(STALLING, failure)
    assert "1.400000 s into the recording" in told(Frame(PLAYED), replace(failure, scene=None))


def test_of_very_many_pools_the_first_are_drawn() -> None:
    assert DEFAULT_POOL.slots is not None
    scene = scene_of(STALL)
    many = replace(scene, pools=scene.pools * 20)
    page = told(STALLING, replace(STALLED.failures[0], scene=many))
    assert page.count("longest free run 127\n") == 8
    assert "12 more pools" in page


def test_every_label_of_the_page_is_explained() -> None:
    frame = frame_at(STALL, SHOWN_NS)
    pages = told(frame, frame.now.failures[0]).splitlines()[1:]
    labels = {line[:10].strip() for line in pages[: pages.index("")]} - {"", "why"}
    assert labels == FAILURE.keys() - {"moment"}


def test_scenes_take_no_more_effort_than_the_failures_earn(monkeypatch: pytest.MonkeyPatch) -> None:
    """To copy this pool takes 517: one, four slot sets, and 512 slots in use."""
    monkeypatch.setattr(onlooker, "_EFFORT", 1034)
    monkeypatch.setattr(onlooker, "_EARNED_A_FAILURE", 100)
    judge, scenes = judging(), Scenes()
    judge.findings.listener = scenes
    judge.feed([device(), *(found(1000 + 10 * at, 1001 + 10 * at, 128 * at, 128) for at in range(4))])
    judge.feed(searched_in_vain(2000 + 10 * nslots, 2001 + 10 * nslots, nslots) for nslots in range(1, 13))
    judge.finish()
    assert [scene.explanation.needed_slots for scene in scenes.kept.values()] == [1, 2, 7, 12]


def test_of_many_different_failures_the_latest_scenes_are_kept() -> None:
    judge, scenes = judging(), Scenes()
    judge.findings.listener = scenes
    judge.feed([device(), *(found(1000 + 10 * at, 1001 + 10 * at, 128 * at, 128) for at in range(4))])
    judge.feed(searched_in_vain(2000 + 10 * nslots, 2001 + 10 * nslots, nslots) for nslots in range(1, KEPT + 9))
    judge.finish()
    kept = [scene.explanation.needed_slots for scene in scenes.kept.values()]
    assert kept == [*range(9, KEPT + 9)]
