"""What is found of late: what ``swiotlb-top check`` would find, had it watched the last ten to twenty minutes.

What is found stays found for that long. A kind that is not found is known to be absent only where there was something
to see it by, for long enough: else nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from swiotlb_exporter.devices import Who, totals_of, who, with_totals
from swiotlb_top.accounting.finding import Kind
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import UNKNOWN, DeviceView, Snapshot, VerdictView
from swiotlb_top.findings.rules import RUNAWAY_NS, TRANSIENT_READINGS_LEAST, findings
from swiotlb_top.findings.watched import PARTS, SLOPE_LEAST_NS, Watched

WINDOW_NS: Final = 600_000_000_000
"""A window begins so long after the one before. The older of two is looked at, and then dropped."""

_COUNTERS: Final = ("maps", "map_failures", "unmaps", "growths", "pools_added", "lost", "uncounted", "watched_ns")
_OF_VERDICT: Final = ("compared", "agree", "disagree", "inconclusive", "safety_violations")
_FAILING: Final = (
    Kind.FULL,
    Kind.FRAGMENTED,
    Kind.TOO_LARGE,
    Kind.UNSUITED,
    Kind.CANNOT_GROW,
    Kind.WRONG_KIND,
    Kind.UNREACHABLE,
    Kind.UNEXPLAINED,
)

Seen: TypeAlias = Callable[[Watched], bool]


def _compared(watched: Watched) -> bool:
    return watched.now.verdict is not None


def _failures_counted(watched: Watched) -> bool:
    return not watched.now.unseen and watched.now.map_failures >= 0 and not watched.now.uncounted


def _slopes_seen(watched: Watched) -> bool:
    return not watched.now.unseen and len(watched.readings) >= 2 * PARTS


def _leaps_seen(watched: Watched) -> bool:
    readings = watched.readings
    often = len(readings) > 1 and readings[-1].time_ns - readings[-2].time_ns <= RUNAWAY_NS
    return often and not watched.now.unseen and watched.now.used_slots >= 0


KNOWABLE: Final[Mapping[Kind, Seen]] = {
    Kind.HARM: _compared,
    Kind.DISAGREE: _compared,
    **dict.fromkeys(_FAILING, _failures_counted),
    Kind.LEAK: _slopes_seen,
    Kind.RUNAWAY: _leaps_seen,
    Kind.NEARLY_FULL: lambda watched: watched.now.used_slots >= 0 and watched.now.nslabs > 0,
    Kind.GROWTH_FAILS: lambda watched: watched.now.growths >= 0,
    Kind.TRANSIENT: lambda watched: (
        watched.now.transient_slots >= 0 and len(watched.readings) >= TRANSIENT_READINGS_LEAST
    ),
}
"""The kinds that are exported, and when one that is not found is known to be absent. The others are of the time before:
the kernel's log has metrics of its own."""


class Told(NamedTuple):
    """What is found."""

    kinds: Mapping[Kind, bool] = {}
    """Whether a kind is found; kinds of which nothing is known are left out."""
    devices: Mapping[Kind, frozenset[Who]] = {}
    """Whose it is, of kinds that are found and are a device's."""


class Recent:
    """Is told every frame of a source, and says what is found of late. Any thread may ask.

    A source that begins anew (a recording) is watched anew.
    """

    def __init__(self) -> None:
        self._windows: list[_Window] = []
        self.told = Told()

    def __call__(self, frame: Frame) -> Frame:
        """The same frame: only what is asked later changes."""
        now = frame.now
        if self._windows and now.time_ns < self._windows[-1].base.time_ns:
            self._windows = []
        if not self._windows or now.time_ns - self._windows[-1].base.time_ns >= WINDOW_NS:
            self._windows = [*self._windows, _Window(now)][-2:]
        for window in self._windows:
            window.add(now)
        self.told = self._windows[0].told()
        return frame

    @property
    def found(self) -> Mapping[Kind, bool]:
        """Whether a kind is found; kinds of which nothing is known are left out."""
        return self.told.kinds


class _Window:
    """What was seen since a snapshot."""

    def __init__(self, base: Snapshot) -> None:
        self.base = base
        self._watched = Watched()

    def add(self, now: Snapshot) -> None:
        before = self._watched.frame
        self._watched.add(Frame(since(now, self.base), before.now if before else None))

    def told(self) -> Told:
        found = findings(self._watched)
        labels = {device.name: who(device) for device in self._watched.now.devices}
        named = [(finding.kind, labels[finding.device]) for finding in found if finding.device in labels]
        devices = {kind: frozenset(of for other, of in named if other is kind) for kind, _ in named}
        return Told(self._kinds({finding.kind for finding in found}), devices)

    def _kinds(self, there: Set[Kind]) -> dict[Kind, bool]:
        if self._watched.duration_ns < SLOPE_LEAST_NS:
            return {kind: True for kind in KNOWABLE if kind in there}
        # Maps failed, and it is not known why: it may be for any of the causes.
        unexplained = Kind.UNEXPLAINED in there
        return {
            kind: kind in there
            for kind, is_known in KNOWABLE.items()
            if kind in there or (is_known(self._watched) and not (unexplained and kind in _FAILING))
        }


def since(now: Snapshot, base: Snapshot) -> Snapshot:
    """The snapshot ``now`` as it would be of a source that began at ``base``: the totals count what happened since.

    A high water that did not rise is of the time before, and so not known. The kernel's log is left out.
    """
    counters: dict[str, Any] = {name: _passed(getattr(now, name), getattr(base, name)) for name in _COUNTERS}
    before = {device.dev: device for device in base.devices}
    rose = now.used_hiwater_slots > base.used_hiwater_slots
    return replace(
        now,
        **counters,
        used_hiwater_slots=now.used_hiwater_slots if rose else UNKNOWN,
        devices=tuple(_device(device, before.get(device.dev)) for device in now.devices),
        verdict=_verdict(now.verdict, base.verdict),
        kernel_log=None,
    )


def _device(now: DeviceView, base: DeviceView | None) -> DeviceView:
    if base is None:
        return now
    passed = with_totals(now, totals_of(now).since(totals_of(base)))
    failed = [(cause, failures) for cause, failures in passed.causes if failures > 0]
    return replace(passed, causes=tuple(sorted(failed, key=lambda counted: -counted[1])))


def _verdict(now: VerdictView | None, base: VerdictView | None) -> VerdictView | None:
    if now is None or base is None:
        return now
    passed: dict[str, Any] = {name: _passed(getattr(now, name), getattr(base, name)) for name in _OF_VERDICT}
    return replace(now, **passed)


def _passed(now: int, base: int) -> int:
    """What was counted since; everything if the count has begun anew; -1 if not known."""
    if UNKNOWN in (now, base):
        return UNKNOWN
    return now - base if now >= base else now
