"""The map of slots by the age of mappings: who is old, without a word of whose it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.tui.ages import Ages, by_age
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.keys import press
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.view import PLAIN, View
from tests.support.drawn import assert_golden, plain_text
from tests.support.screen_docs import TWO_DISKS, frame_at
from tests.support.slots import mapping, slots_with
from tests.support.snapshots import DISK, SECOND_NS, STALLED, STALLING

NOW_NS = 10_000 * SECOND_NS
BY_AGE = View(focus="slots", by_age=True)


@pytest.mark.parametrize(
    ("made_ns", "name"),
    [
        (NOW_NS - 9_999_999, "under 10ms"),
        (NOW_NS - 10_000_000, "under 1s"),
        (NOW_NS - SECOND_NS, "under 1m"),
        (NOW_NS - 60 * SECOND_NS, "under 1h"),
        (NOW_NS - 3600 * SECOND_NS, "longer"),
        (NOW_NS + 5, "under 10ms"),
        (0, "since before the start"),
        (None, "not known since when"),
    ],
)
def test_a_mapping_belongs_to_a_span_of_time(made_ns: int | None, name: str) -> None:
    slots = replace(slots_with(32, 1, [mapping(4, 2, DISK.dev)]), made_ns={} if made_ns is None else {4: made_ns})
    (shown,) = by_age(slots, NOW_NS).mappings or ()
    assert Ages().of(shown.dev).name == name
    assert (shown.slot, shown.nslots) == (4, 2)


def test_every_span_has_a_letter_and_a_colour_of_its_own() -> None:
    spans = [Ages().of(number) for number in range(7)]
    assert len({span.letter for span in spans}) == len({span.fill for span in spans}) == 7


def test_mappings_that_are_not_known_stay_so() -> None:
    slots = replace(slots_with(32, 1, [mapping(4, 2)]), mappings=None)
    assert by_age(slots, NOW_NS) is slots


def test_a_key_turns_to_ages_and_back_and_the_title_says_which() -> None:
    view = press(PLAIN, STALLING, "a")
    for shown, words in ((view, "by age (a: by owner)"), (press(view, STALLING, "a"), "by owner (a: by age)")):
        assert words in plain_text(render(STALLING, shown, UNICODE, 120, 40))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_two_disks_by_age(width: int, height: int) -> None:
    frame = frame_at(TWO_DISKS, SECOND_NS)
    assert_golden(f"ages-{width}", plain_text(render(frame, BY_AGE, UNICODE, width, height)))


def test_of_a_recording_the_age_is_that_of_the_call() -> None:
    frame = frame_at(TWO_DISKS, SECOND_NS)
    ages = sorted(
        frame.now.time_ns - made_ns
        for pool in frame.now.pools
        if pool.slots
        for made_ns in (pool.slots.made_ns or {}).values()
    )
    assert len(ages) == 12
    oldest_ns = max(frame.now.time_ns - device.oldest_ns for device in frame.now.devices)
    assert ages[-1] == oldest_ns


def test_where_slots_are_read_now_and_then_it_is_said_that_an_age_is_a_bound() -> None:
    sampled = Frame(replace(STALLED, sampled_ns=STALLED.time_ns - SECOND_NS))
    assert "an age is the most it can be" in plain_text(render(sampled, BY_AGE, UNICODE, 200, 60))
    assert "an age is" not in plain_text(render(sampled, replace(BY_AGE, by_age=False), UNICODE, 200, 60))
