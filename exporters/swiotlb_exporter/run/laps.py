"""A recording that is played over and over, shown as a kernel on which the same happens again and again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from swiotlb_exporter.devices import totals_of, with_totals
from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, Snapshot, VerdictView
from swiotlb_top.sources import Player, PlayOrder

_MOST_LAPS: Final = 10
"""How often a short recording is played between two readings at most; the rest of that time is left out."""
_COUNTERS: Final = ("time_ns", "maps", "map_failures", "unmaps", "growths", "pools_added", "lost", "watched_ns")
_OF_VERDICT: Final = ("compared", "agree", "disagree", "inconclusive", "safety_violations")


class Laps:
    """Plays ``source`` round and round; what it counts goes on where a lap ends.

    Prometheus takes a counter that falls for one that began anew, and cannot know what happened in the rest of a lap:
    the rate of a recording that is shorter than the interval would be far too low.

    :param source: of a recording that loops.
    """

    def __init__(self, source: Player) -> None:
        self._source = source
        self._over: Snapshot | None = None
        """All laps that are over, as one snapshot; of it only counters mean anything."""

    def snapshot(self) -> Snapshot:
        """The recording at its position, with the counters of all laps."""
        return _go_on(self._over, self._source.snapshot())

    def play(self, order: PlayOrder) -> None:
        """Let time pass, through the end of the recording if it comes."""
        left_ns = order.passed_ns
        for _ in range(_MOST_LAPS):
            before_ns = _position_ns(self._source.snapshot())
            self._source.play(order._replace(passed_ns=left_ns))
            there = self._source.snapshot()
            playback = there.playback
            if playback is None or not playback.is_over:
                return
            left_ns -= int((playback.position_ns - before_ns) / playback.speed)
            self._over = _go_on(self._over, there)
            # From its end, any time that passes leads to its beginning.
            self._source.play(PlayOrder(passed_ns=1))

    def close(self) -> None:
        self._source.close()


def _position_ns(snapshot: Snapshot) -> int:
    return snapshot.playback.position_ns if snapshot.playback else 0


def _go_on(over: Snapshot | None, now: Snapshot) -> Snapshot:
    """``now`` with what was counted in the laps that are over."""
    if over is None:
        return now
    counters: dict[str, Any] = {name: _sum(getattr(over, name), getattr(now, name)) for name in _COUNTERS}
    before = {device.dev: device for device in over.devices}
    there = tuple(_device(before.pop(device.dev, None), device) for device in now.devices)
    return replace(now, **counters, devices=(*there, *before.values()), verdict=_verdict(over.verdict, now.verdict))


def _device(over: DeviceView | None, now: DeviceView) -> DeviceView:
    if over is None:
        return now
    totals = totals_of(over)
    totals.add(totals_of(now))
    return with_totals(now, totals)


def _verdict(over: VerdictView | None, now: VerdictView | None) -> VerdictView | None:
    if over is None or now is None:
        return now or over
    return replace(now, **{name: getattr(over, name) + getattr(now, name) for name in _OF_VERDICT})


def _sum(over: int, now: int) -> int:
    return UNKNOWN if UNKNOWN in (over, now) else over + now
