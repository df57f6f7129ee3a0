"""A recording that is exported over and over counts on: its rates are those that were recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_exporter.devices import Devices
from swiotlb_exporter.run.laps import Laps
from swiotlb_exporter.wanted import Wanted
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.sources import PlayOrder
from swiotlb_top.sources.replay import ReplaySource
from tests.support.doctoring import STALL

A_SECOND_NS = 1_000_000_000


def whole_of(path: Path) -> Snapshot:
    """The recording at its end."""
    source = ReplaySource(path)
    source.play(PlayOrder(seek_ns=1_000_000 * A_SECOND_NS))
    return source.snapshot()


def failed(snapshot: Snapshot) -> int:
    return sum(device.map_failures for device in snapshot.devices)


@pytest.mark.parametrize("step_ns", [A_SECOND_NS * 2, 5 * A_SECOND_NS, 10 * A_SECOND_NS])
def test_however_seldom_it_is_looked_at_it_fails_as_often_a_second_as_was_recorded(step_ns: int) -> None:
    whole = whole_of(STALL)
    assert whole.playback is not None
    per_second = whole.map_failures * A_SECOND_NS / whole.playback.length_ns
    laps = Laps(ReplaySource(STALL, loops=True))
    steps = 20 * A_SECOND_NS // step_ns
    for _ in range(steps):
        laps.play(PlayOrder(passed_ns=step_ns))
    seconds = steps * step_ns / A_SECOND_NS
    counted = laps.snapshot()
    assert counted.map_failures == pytest.approx(per_second * seconds, abs=whole.map_failures)
    assert failed(counted) == counted.map_failures


def test_no_counter_falls_and_the_clock_goes_on() -> None:
    laps = Laps(ReplaySource(STALL, loops=True))
    devices = Devices(Wanted(100), is_there=lambda name: True)
    before, seen = laps.snapshot(), devices.totals(laps.snapshot())
    for _ in range(12):
        laps.play(PlayOrder(passed_ns=A_SECOND_NS))
        now = laps.snapshot()
        assert now.time_ns > before.time_ns
        for name in ("maps", "map_failures", "unmaps", "growths", "lost"):
            assert getattr(now, name) >= getattr(before, name)
        assert now.verdict is not None
        assert before.verdict is not None
        assert now.verdict.compared >= before.verdict.compared
        totals = devices.totals(now)
        for label, count in seen.items():
            assert sum(totals[label].sizes) >= sum(count.sizes)
            assert totals[label].map_failures >= count.map_failures
        before, seen = now, totals


def test_a_lap_counts_each_device_and_verdict_once() -> None:
    whole = whole_of(STALL)
    assert whole.playback is not None
    assert whole.verdict is not None
    laps = Laps(ReplaySource(STALL, loops=True))
    laps.play(PlayOrder(passed_ns=whole.playback.length_ns))
    laps.play(PlayOrder(passed_ns=whole.playback.length_ns))
    twice = laps.snapshot()
    assert twice.verdict is not None
    assert {device.name: device.maps for device in twice.devices} == {d.name: 2 * d.maps for d in whole.devices}
    assert {device.name: sum(device.latencies) for device in twice.devices} == {
        d.name: 2 * sum(d.latencies) for d in whole.devices
    }
    assert twice.verdict.agree == 2 * whole.verdict.agree
