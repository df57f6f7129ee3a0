"""Findings noted in frames: of all frames so far, and never against what the headline or ``check`` says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.finding import Kind
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import Level, headline
from swiotlb_top.accounting.snapshot import Snapshot, VerdictView
from swiotlb_top.allocator import Cause
from swiotlb_top.errors import Exit
from swiotlb_top.findings.noticing import Noticing
from swiotlb_top.findings.watched import PARTS, SLOPE_LEAST_NS, Watched
from swiotlb_top.kernel_log.watch import KernelLog
from swiotlb_top.reports.check import CheckReport
from tests.support.logs import CALM, EARLIER, POOL, found
from tests.support.snapshots import DISK, NVME, SECOND_NS

SOUND = replace(CALM, nslabs=1000, used_slots=0, used_hiwater_slots=0)
EACH: list[dict[str, Any]] = [
    {},
    {"used_slots": 300},
    {"used_slots": 950},
    {"used_slots": 1300, "transient_slots": 800},
    {"transient_slots": 8},
    {"used_hiwater_slots": 950},
    {"growths": 5},
    {"map_failures": 3},
    {"map_failures": 3, "devices": (replace(DISK, map_failures=3, causes=((Cause.EXHAUSTED, 3),)),)},
    {"map_failures": 9, "devices": (replace(DISK, map_failures=3), replace(NVME, map_failures=6))},
    {"devices": (replace(NVME, maps=900, unmaps=300, asked_slots=900),), "used_slots": 600},
    {"verdict": VerdictView("6.10", 10, 9, 1, 0, 0)},
    {"verdict": VerdictView("6.10", 10, 10, 0, 0, 1)},
    {"verdict": VerdictView("6.10", 10, 9, 0, 1, 0)},
    {"verdict": None},
    {"uncounted": 2},
    {"kernel_log": EARLIER},
    {"kernel_log": KernelLog(before=found(POOL))},
    {"map_failures": -1, "devices": (), "unseen": "debugfs has none"},
]
"""What a snapshot may show beside what is sound."""
SAYS = {Exit.OK: Exit.OK, Exit.DISAGREE: Exit.DISAGREE, Exit.INCONCLUSIVE: Exit.CANNOT}
"""What check exits with, by what the screen does."""


def frames(snapshots: list[Snapshot]) -> list[Frame]:
    """Frames of these, a second apart."""
    shown: list[Frame] = []
    for at, snapshot in enumerate(snapshots):
        now = replace(snapshot, time_ns=(at + 1) * SECOND_NS)
        shown.append(shown[-1].then(now) if shown else Frame(now))
    return shown


@given(st.lists(st.sampled_from(EACH).map(lambda changes: replace(SOUND, **changes)), min_size=1, max_size=14))
def test_the_headline_never_says_anything_else_than_the_findings_and_check(snapshots: list[Snapshot]) -> None:
    notice, watched = Noticing(), Watched()
    for frame in frames(snapshots):
        noticed = notice(frame)
        watched.add(frame)
        told, report = headline(noticed), CheckReport.of(watched)
        assert noticed.findings == report.findings
        assert SAYS[told.exit_status] == report.exit_code
        assert not (told.level is Level.WELL and noticed.findings)
        if told.device is not None and told.level is Level.FAILING:
            failing = [finding for finding in noticed.findings if finding.claim.endswith(" fails")]
            assert failing[0].device == told.device.name


def test_what_only_many_frames_show_makes_the_headline() -> None:
    notice = Noticing()
    device = replace(NVME, unmaps=5000)
    leaking = [
        replace(SOUND, used_slots=held, devices=(replace(device, maps=5000 + held, asked_slots=5000 + held),))
        for held in range(100, 200, 2)
    ]
    last = [notice(frame) for frame in frames(leaking)][-1]
    assert [finding.kind for finding in last.findings] == [Kind.LEAK]
    told = headline(last)
    assert (told.level, told.exit_status) == (Level.TROUBLE, Exit.DISAGREE)
    assert told.sentence == "A device holds more and more mappings, and gives fewer back than it makes"
    assert last.findings[0].sentence == (
        "0000:00:05.0 holds about 120 slots more each minute; the pools are full in 6m41s"
    )


def test_what_only_costs_time_is_not_well_either() -> None:
    notice = Noticing()
    last = [notice(frame) for frame in frames([replace(SOUND, transient_slots=8)] * 12)][-1]
    assert [finding.kind for finding in last.findings] == [Kind.TRANSIENT]
    assert (headline(last).level, headline(last).exit_status) == (Level.SLOW, Exit.OK)


def test_a_screen_that_is_drawn_often_reads_no_more_often() -> None:
    watched = Watched()
    for tenth in range(101):
        watched.add(Frame(replace(SOUND, time_ns=SECOND_NS + tenth * SECOND_NS // 10, used_slots=tenth)))
    assert len(watched.readings) == 12
    assert watched.fullest is not None
    assert watched.fullest.used_slots == 100


def test_a_recording_that_is_moved_back_knows_nothing_of_later_times() -> None:
    notice = Noticing()
    early, late = frames([SOUND, replace(SOUND, used_slots=950)])
    assert [finding.kind for finding in notice(late).findings] == [Kind.NEARLY_FULL]
    assert notice(early).findings == ()


@pytest.mark.parametrize(
    ("held", "steady"),
    [([10 + 3 * at for at in range(50)], True), ([10 + int(30 * at**0.25) for at in range(50)], False)],
    ids=["as fast all the time", "slower and slower"],
)
def test_when_the_pools_are_full_is_only_said_of_what_rises_steadily(held: list[int], steady: bool) -> None:
    watched = Watched()
    device = replace(NVME, dev=1, asked_slots=0)
    for frame in frames(
        [
            replace(SOUND, used_slots=maps, devices=(replace(device, maps=maps, unmaps=0, asked_slots=maps),))
            for maps in held
        ]
    ):
        watched.add(frame)
    slope = watched.slopes[1]
    assert slope.slots_per_minute > 0
    assert (slope.full_in_ns >= 0) == steady


@given(st.integers(1, 40), st.integers(1, 8), st.integers(40, 90))
def test_the_slope_of_a_straight_line_is_its_own(more: int, slots: int, seconds: int) -> None:
    watched = Watched()
    lines = [
        replace(
            SOUND,
            nslabs=100_000,
            used_slots=100 + second * more * slots,
            devices=(replace(NVME, maps=100 + second * more, unmaps=0, asked_slots=(100 + second * more) * slots),),
        )
        for second in range(seconds)
    ]
    for frame in frames(lines):
        watched.add(frame)
    slope = watched.slopes.get(NVME.dev)
    if slope is None:
        assert more * (seconds - seconds // PARTS - PARTS) < 16
        return
    assert slope.slots_per_minute == pytest.approx(60 * more * slots)
    assert slope.full_in_ns == pytest.approx((100_000 - lines[-1].used_slots) / (more * slots) * 1e9, rel=1e-6)


def test_in_less_than_half_a_minute_nothing_is_said_to_rise() -> None:
    watched = Watched()
    shorter = SLOPE_LEAST_NS // SECOND_NS - 1
    for frame in frames(
        [replace(SOUND, devices=(replace(NVME, maps=90 * at, unmaps=0, asked_slots=90 * at),)) for at in range(shorter)]
    ):
        watched.add(frame)
    assert watched.slopes == {}
