"""What the exporter says is found: no more than what it has seen, and no longer than of late."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.devices import OTHER, UNNAMED, Who
from swiotlb_exporter.findings import KNOWABLE, WINDOW_NS, Recent, Told, since
from swiotlb_top.accounting.finding import ADVICE, MEANINGS, Kind
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import Snapshot, VerdictView
from swiotlb_top.allocator import Cause
from swiotlb_top.findings.rules import findings
from swiotlb_top.findings.watched import Watched
from tests.support.logs import CALM, EARLIER
from tests.support.snapshots import DEBUGFS, DISK, NVME, SECOND_NS

EVERY_S = 5
SOUND = replace(CALM, nslabs=1000, used_slots=10, used_hiwater_slots=950, maps=40, unmaps=40, devices=(NVME,))
"""Of which the high water was nearly all slots, some time since boot."""


def told(snapshots: Iterable[Snapshot], every_s: int = EVERY_S, recent: Recent | None = None) -> Recent:
    """What is said after these, so far apart."""
    recent = recent or Recent()
    for at, snapshot in enumerate(snapshots):
        recent(Frame(replace(snapshot, time_ns=(at + 1) * every_s * SECOND_NS)))
    return recent


def failing(times: int, cause: Cause | None = Cause.EXHAUSTED) -> Snapshot:
    causes = ((cause, times),) if cause else ()
    return replace(SOUND, map_failures=times, devices=(replace(DISK, map_failures=times, causes=causes), NVME))


def test_who_has_watched_for_a_moment_knows_of_nothing_that_it_is_not_there() -> None:
    assert told([SOUND] * 2).found == {}
    assert told([SOUND] * 6).found == {}


def test_who_has_watched_for_half_a_minute_and_sees_nothing_wrong_says_so() -> None:
    assert told([SOUND] * 12).found == {kind: False for kind in KNOWABLE if kind is not Kind.RUNAWAY}


def test_what_takes_slots_within_a_second_is_only_missed_by_who_looks_less_often() -> None:
    assert told([SOUND] * 60, every_s=1).found[Kind.RUNAWAY] is False


def test_maps_that_fail_are_found_at_once() -> None:
    assert told([SOUND, failing(3)]).found == {Kind.FULL: True}


def test_what_failed_before_the_exporter_began_is_not_found() -> None:
    assert Kind.FULL not in told([failing(3)] * 2).found
    assert told([failing(3)] * 12).found[Kind.FULL] is False


def test_what_failed_is_forgotten_when_it_is_long_ago() -> None:
    window_s = WINDOW_NS // SECOND_NS
    recent = told([SOUND, *[failing(3)] * (window_s // EVERY_S)])
    assert recent.found[Kind.FULL] is True
    later = told([SOUND, *[failing(3)] * (3 * window_s // EVERY_S)])
    assert later.found[Kind.FULL] is False


def test_where_nobody_knows_why_maps_fail_no_cause_is_denied() -> None:
    found = told([SOUND, *[failing(3, cause=None)] * 12]).found
    assert found[Kind.UNEXPLAINED] is True
    assert not {Kind.FULL, Kind.FRAGMENTED, Kind.TOO_LARGE, Kind.UNSUITED, Kind.CANNOT_GROW} & set(found)


def test_what_was_in_use_since_boot_is_not_of_late() -> None:
    assert told([SOUND] * 12).found[Kind.NEARLY_FULL] is False
    rose = replace(SOUND, used_hiwater_slots=951)
    assert told([SOUND, rose]).found == {Kind.NEARLY_FULL: True}


def test_a_leak_is_found_and_a_load_that_comes_and_goes_is_not() -> None:
    def holds(maps: int) -> Snapshot:
        device = replace(NVME, maps=5000 + maps, unmaps=5000, asked_slots=5000 + maps)
        return replace(SOUND, used_slots=maps, devices=(device,))

    assert told([holds(100 + 4 * at) for at in range(40)]).found[Kind.LEAK] is True
    assert told([holds(100 + 40 * (at % 3)) for at in range(40)]).found[Kind.LEAK] is False


def test_what_the_source_does_not_see_is_neither_there_nor_not() -> None:
    assert set(told([DEBUGFS] * 20).found) == {Kind.NEARLY_FULL, Kind.TRANSIENT}
    assert told([replace(SOUND, verdict=None)] * 12).found.keys().isdisjoint({Kind.HARM, Kind.DISAGREE})
    uncounted = [replace(SOUND, uncounted=at) for at in range(12)]
    assert Kind.FULL not in told(uncounted).found


def test_the_kernels_log_has_metrics_of_its_own() -> None:
    assert not any(told([replace(SOUND, kernel_log=EARLIER)] * 12).found.values())
    assert not {Kind.FAILED_BEFORE, Kind.NO_POOL} & set(KNOWABLE)


def test_a_source_that_begins_anew_is_watched_anew() -> None:
    recent = told([SOUND, *[failing(3)] * 20])
    assert told([SOUND] * 2, recent=recent).found == {}


COUNTS = st.integers(0, 50)


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=2, max_size=20))
def test_it_says_what_check_would_had_it_begun_then(steps: list[tuple[int, int, int]]) -> None:
    """Whatever was counted before: a source whose totals begin at 0 shows the same."""
    fresh: list[Snapshot] = []
    later: list[Snapshot] = []
    maps = failures = growths = 0
    for more_maps, more_failures, more_growths in [(0, 0, 0), *steps]:
        maps, failures, growths = maps + more_maps, failures + more_failures, growths + more_growths
        for of, before in ((fresh, 0), (later, 1000)):
            device = replace(
                DISK,
                maps=maps + before,
                unmaps=before,
                asked_slots=maps + failures + before,
                map_failures=failures + before,
                causes=((Cause.EXHAUSTED, failures + before),),
            )
            of.append(
                replace(
                    SOUND,
                    used_hiwater_slots=-1,
                    map_failures=failures + before,
                    growths=growths + before,
                    pools_added=before,
                    devices=(device,),
                    verdict=VerdictView("6.10", before + maps, before + maps, 0, 0, 0),
                )
            )
    watched = Watched()
    for at, snapshot in enumerate(fresh):
        watched.add(Frame(replace(snapshot, time_ns=(at + 1) * SECOND_NS)))
    expected = {finding.kind for finding in findings(watched)}
    found = told(later, every_s=1).found
    assert {kind for kind, is_there in found.items() if is_there} == expected


def test_what_passed_since_is_the_difference_of_the_totals() -> None:
    passed = since(failing(7), failing(3))
    assert (passed.map_failures, passed.maps) == (4, 0)
    assert [device.map_failures for device in passed.devices] == [4, 0]
    assert passed.devices[0].causes == ((Cause.EXHAUSTED, 4),)
    assert since(failing(3), failing(3)).devices[0].causes == ()


def test_whose_a_finding_is_is_known_where_it_is_a_device_s() -> None:
    assert told([SOUND, failing(3)]).told.devices == {Kind.FULL: {(DISK.name, DISK.driver)}}
    assert told([SOUND, replace(SOUND, used_hiwater_slots=951)]).told.devices == {}


def test_a_device_that_could_not_be_named_is_not_told_by_its_address() -> None:
    nameless = replace(failing(3).devices[0], name=f"device {DISK.dev & 0xFFFF:04x}", driver="")
    assert told([SOUND, replace(failing(3), devices=(nameless, NVME))]).told.devices == {Kind.FULL: {(UNNAMED, "")}}


# ---- as metrics ----------------------------------------------------------------


def value(found: dict[Kind, bool], name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(lambda: SOUND, is_there=lambda name: True, findings=lambda: Told(found)))
    return registry.get_sample_value(name, labels)


@pytest.mark.parametrize(("found", "shown"), [({Kind.LEAK: True}, 1), ({Kind.LEAK: False}, 0), ({}, None)])
def test_a_finding_is_one_zero_or_absent(found: dict[Kind, bool], shown: float | None) -> None:
    assert value(found, "swiotlb_finding", finding="leak") == shown
    told_info = value(
        found, "swiotlb_finding_info", finding="leak", meaning=MEANINGS[Kind.LEAK], advice=" ".join(ADVICE[Kind.LEAK])
    )
    assert told_info == (1 if shown else None)


@pytest.mark.parametrize(
    ("whose", "labels"),
    [((NVME.name, NVME.driver), (NVME.name, NVME.driver)), (("0000:00:09.0", "gone"), OTHER)],
)
def test_whose_it_is_is_a_label_and_other_where_the_device_has_no_series(whose: Who, labels: Who) -> None:
    registry = CollectorRegistry()
    found = Told({Kind.LEAK: True}, {Kind.LEAK: frozenset({whose})})
    registry.register(SnapshotCollector(lambda: SOUND, is_there=lambda name: True, findings=lambda: found))
    device, driver = labels
    shown = {"finding": "leak", "device": device, "driver": driver}
    assert registry.get_sample_value("swiotlb_finding_device_info", shown) == 1
