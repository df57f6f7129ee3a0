"""The headline is the worst of all that is known, and ``well`` is only said where nothing unknown could change it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import MEANINGS, Level, headline
from swiotlb_top.accounting.snapshot import Playback, Snapshot, VerdictView
from swiotlb_top.errors import Exit
from tests.support.snapshots import DEBUGFS, DISK, NVME, QUIET, SECOND_NS

BEFORE = replace(QUIET, verdict=VerdictView("6.10", 10, 10, 0, 0, 0), used_slots=10, used_hiwater_slots=20)
CALM = replace(BEFORE, time_ns=BEFORE.time_ns + SECOND_NS, watched_ns=3 * SECOND_NS, maps=14, devices=(NVME,))

BAD: dict[Level, dict[str, object]] = {
    Level.UNSAFE: {"verdict": VerdictView("6.10", 10, 9, 1, 0, 1, "slot 3; expected slot 2")},
    Level.DISAGREE: {"verdict": VerdictView("6.10", 10, 9, 1, 0, 0, "slot 3; expected slot 2")},
    Level.FAILING: {"map_failures": 230, "devices": (DISK, NVME)},
    Level.NEARLY_FULL: {"used_slots": 461},
}
"""What is bad now, the worst first."""
FAILED_BEFORE: dict[str, object] = {"map_failures": 230, "devices": (DISK, NVME)}
UNKNOWN: dict[str, dict[str, object]] = {
    "the source has no failures": {"unseen": "debugfs has no failures"},
    "failures are not counted": {"map_failures": -1},
    "nothing was watched": {"watched_ns": 0},
    "no pool was read": {"nslabs": 0},
    "use is not known": {"used_slots": -1},
    "calls went uncounted": {"uncounted": 1},
    "some operation cannot be judged": {"verdict": VerdictView("6.10", 10, 9, 0, 1, 0)},
    "of a whole recording nothing was judged": {"verdict": VerdictView("6.10", 0, 0, 0, 0, 0)},
    "there is no reference for this kernel": {"verdict": None},
}
"""What is not known, and would change the headline if it were."""


def frame_of(now: Snapshot, **changes: object) -> Frame:
    return Frame(replace(now, **changes), BEFORE)  # type: ignore[arg-type]


def test_where_all_is_known_and_nothing_is_bad_it_is_well() -> None:
    found = headline(frame_of(CALM))
    assert (found.level, found.unknown, found.exit_status) == (Level.WELL, (), Exit.OK)
    assert found.sentence == "no map has failed in the 3.0s watched; 10 operations compared, all agree"


@given(st.sets(st.sampled_from(sorted(BAD, key=list(Level).index)), min_size=1), st.sets(st.sampled_from([*UNKNOWN])))
def test_of_several_bad_things_the_worst_is_told_whatever_else_is_unknown(bad: set[Level], unknown: set[str]) -> None:
    changes: dict[str, object] = {}
    for name in unknown:
        changes |= UNKNOWN[name]
    for level in sorted(bad, key=list(Level).index, reverse=True):
        changes |= {"nslabs": CALM.nslabs, **BAD[level]}
    found = headline(frame_of(CALM, **changes))
    assert found.level is min(bad, key=list(Level).index)
    assert found.exit_status is Exit.DISAGREE


@pytest.mark.parametrize("name", UNKNOWN)
def test_it_is_not_well_while_something_is_unknown_that_would_change_it(name: str) -> None:
    found = headline(frame_of(CALM, **UNKNOWN[name]))
    assert found.level is Level.UNCLEAR
    assert found.sentence
    assert found.exit_status is Exit.INCONCLUSIVE


def test_nor_before_there_is_a_time_to_have_watched_in() -> None:
    assert headline(Frame(CALM)).level is Level.UNCLEAR


def test_nor_while_the_source_cannot_be_read() -> None:
    stale = replace(frame_of(CALM), failure="no answer for 6 s")
    assert headline(stale).sentence == "the source cannot be read now: no answer for 6 s"


def test_nor_of_a_demonstration_which_is_not_of_this_machine() -> None:
    found = headline(frame_of(CALM, demo=True))
    assert (found.level, found.exit_status) == (Level.DEMO, Exit.INCONCLUSIVE)


def test_all_else_that_is_unknown_is_told_as_well() -> None:
    found = headline(frame_of(CALM, uncounted=7, verdict=None))
    assert found.sentence == "7 calls went uncounted: failed maps may be among them"
    assert found.unknown == ("nothing is compared with the reference",)


def test_a_sample_in_which_nothing_was_compared_leaves_no_doubt_that_is_not_in_every_sample() -> None:
    found = headline(frame_of(CALM, sampled=True, verdict=VerdictView("6.10", 0, 0, 0, 0, 0)))
    assert (found.level, found.sentence) == (Level.WELL, "no map has failed in the 3.0s watched")


def test_what_failed_earlier_is_not_failing_and_not_forgotten() -> None:
    failed = replace(BEFORE, **FAILED_BEFORE)  # type: ignore[arg-type]
    found = headline(Frame(replace(CALM, **FAILED_BEFORE), failed))  # type: ignore[arg-type]
    assert (found.level, found.device, found.exit_status) == (Level.FAILED, DISK, Exit.DISAGREE)
    assert found.sentence == "0000:00:04.0 (virtio-pci, vda): 230 maps failed in the 3.0s watched"


def test_of_several_failing_devices_the_worst_is_named_with_its_own_rate() -> None:
    worse = replace(DISK, dev=1, name="0000:00:06.0", map_failures=1000)
    found = headline(frame_of(CALM, map_failures=1230, devices=(DISK, worse, NVME)))
    assert found.sentence == "0000:00:06.0 (virtio-pci, vda): 1000 failed maps/s; 1 more device"
    assert found.device == worse


def test_failures_of_no_known_device_are_still_headlined() -> None:
    assert headline(frame_of(CALM, map_failures=230)).sentence == "unknown device: 230 failed maps/s"


def test_nearly_full_says_at_which_share_and_debugfs_alone_is_enough_to_know() -> None:
    found = headline(Frame(replace(DEBUGFS, used_slots=500)))
    assert (found.level, found.sentence) == (Level.NEARLY_FULL, "97.6% of all slots (500 of 512) are in use")
    assert found.unknown == (f"failed maps are not seen: {DEBUGFS.unseen}",)


def test_a_peak_that_was_nearly_full_is_told_after_failures_and_before_well() -> None:
    found = headline(frame_of(CALM, used_hiwater_slots=512))
    assert (found.level, found.exit_status) == (Level.NEARLY_FULL, Exit.DISAGREE)
    assert found.sentence == "100.0% of all slots (512 of 512) were in use at the peak"
    failed = replace(BEFORE, **FAILED_BEFORE)  # type: ignore[arg-type]
    both = Frame(replace(CALM, used_hiwater_slots=512, **FAILED_BEFORE), failed)  # type: ignore[arg-type]
    assert headline(both).level is Level.FAILED


def test_never_are_more_slots_in_use_than_there_are() -> None:
    """Those of transient pools are in use, too, and none of the pools that are listed."""
    found = headline(frame_of(CALM, used_slots=520, transient_slots=16))
    assert found.sentence == "98.4% of all slots (520 of 528) are in use"
    peak = headline(frame_of(CALM, used_hiwater_slots=600))
    assert peak.sentence == "600 slots were in use at the peak, more than the 512 of the pools"


@pytest.mark.parametrize(("slots", "level"), [(460, Level.WELL), (461, Level.NEARLY_FULL)])
def test_nine_tenths_of_the_slots_are_nearly_all(slots: int, level: Level) -> None:
    assert headline(frame_of(CALM, used_slots=slots)).level is level


def test_the_harm_is_counted() -> None:
    assert headline(frame_of(CALM, **BAD[Level.UNSAFE])).sentence == "1 safety violation in 10 operations compared"
    assert headline(frame_of(CALM, **BAD[Level.DISAGREE])).sentence == (
        "kernel and reference disagree on 1 of 10 operations"
    )


def test_of_a_recording_it_is_said_up_to_where_it_was_played() -> None:
    now = replace(CALM, playback=Playback(2 * SECOND_NS, 4 * SECOND_NS, 1.0, False), watched_ns=2 * SECOND_NS)
    assert headline(frame_of(now)).sentence.startswith("no map has failed in the first 2.0s of the recording")


def test_every_word_has_a_meaning() -> None:
    assert [*MEANINGS] == [*Level]
