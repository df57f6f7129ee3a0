"""The rules: each looks at what was watched, and gives a finding for each thing that is wrong by it.

A rule claims only what its numbers show. Where they are not known (-1), or too few, it says nothing: what is not known
is told elsewhere (:func:`swiotlb_top.accounting.headline.headline`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Final, TypeAlias

from swiotlb_top.accounting import logged, numbers
from swiotlb_top.accounting.headline import NEARLY_FULL_PERCENT
from swiotlb_top.accounting.snapshot import DeviceView
from swiotlb_top.allocator import Cause
from swiotlb_top.findings.finding import Finding, Kind
from swiotlb_top.findings.holders import holders
from swiotlb_top.findings.watched import Watched, held_slots, mean_slots

Rule: TypeAlias = Callable[[Watched], Iterator[Finding]]

KIND_OF_CAUSE: Final[Mapping[Cause, Kind]] = {
    Cause.NOT_INITIALISED: Kind.NO_POOL,
    Cause.TOO_LARGE: Kind.TOO_LARGE,
    Cause.EXHAUSTED: Kind.FULL,
    Cause.FRAGMENTED: Kind.FRAGMENTED,
    Cause.MISALIGNED: Kind.UNSUITED,
    Cause.BOUNDARY: Kind.UNSUITED,
    Cause.CANNOT_GROW: Kind.CANNOT_GROW,
    Cause.GROW_FAILED: Kind.CANNOT_GROW,
}
"""As what a failure of each cause is reported."""

_SHORT_OF_SLOTS: Final = frozenset({Kind.FULL, Kind.FRAGMENTED, Kind.CANNOT_GROW, Kind.UNEXPLAINED})
"""Where it matters who holds the slots."""

LEAK_PARTS: Final = 5
"""Parts of the time. A leak's least number of mappings rises from each to the next."""
LEAK_LEAST_NS: Final = 30_000_000_000
"""In a shorter time, a load that only begins looks like a leak."""
LEAK_LEAST_MAPS: Final = 16
"""So many more have to be held at the end than at the beginning,"""
LEAK_LEAST_SHARE: Final = 0.05
"""and so much of all slots."""
RUNAWAY_SHARE: Final = 0.5
"""What one device takes of all slots within :data:`RUNAWAY_NS` runs away."""
RUNAWAY_NS: Final = 1_500_000_000
"""The time between two readings, which may be a little late."""
GROWTHS_LEAST: Final = 3
"""Runs of swiotlb_dyn_alloc() that added nothing, before this is said."""
TRANSIENT_READINGS_LEAST: Final = 10
"""Readings, of which half have to show a transient pool."""


def harm(watched: Watched) -> Iterator[Finding]:
    """The reference says that the kernel did harm, or something else than it should have done."""
    verdict = watched.now.verdict
    if verdict is None:
        return
    first = (verdict.first_disagreement,) if verdict.first_disagreement else ()
    compared = numbers.counted(verdict.compared, "operation")
    if verdict.safety_violations:
        said = f"{numbers.counted(verdict.safety_violations, 'safety violation')} in {compared} compared"
        yield Finding(Kind.HARM, (said, *first))
    elif verdict.disagree:
        yield Finding(Kind.DISAGREE, (f"{numbers.count(verdict.disagree)} of {compared} differ", *first))


def failing(watched: Watched) -> Iterator[Finding]:
    """Maps failed while this watched: one finding a device, by its commonest cause."""
    now = watched.now
    failed = [device for device in now.devices if device.map_failures > 0]
    for device in sorted(failed, key=lambda device: (-device.map_failures, device.name)):
        kind = KIND_OF_CAUSE[device.causes[0][0]] if device.causes else Kind.UNEXPLAINED
        evidence = [_failures(device)]
        if device.last_failure:
            evidence.append(f"the latest {device.last_failure}")
        if kind is Kind.FRAGMENTED and now.used_slots >= 0:
            evidence.append(f"{numbers.count(now.all_slots - now.used_slots)} slots are free now, in pieces")
        if kind in _SHORT_OF_SLOTS:
            evidence += holders(watched.fullest)
        yield Finding(kind, tuple(evidence), device.name, device.driver, device.known_as)
    if now.map_failures > 0 and not failed:
        yield Finding(
            Kind.UNEXPLAINED, (f"{numbers.counted(now.map_failures, 'map')} failed, of which device is not known",)
        )


def _failures(device: DeviceView) -> str:
    asked = device.maps + device.map_failures
    causes = ", ".join(f"{cause.value} {numbers.count(failures)}" for cause, failures in device.causes)
    because = f": {causes}" if causes else ""
    return f"{numbers.count(device.map_failures)} of {numbers.counted(asked, 'map')} failed{because}"


def failed_before(watched: Watched) -> Iterator[Finding]:
    """The kernel's log has failed maps that were not counted here."""
    log = watched.now.kernel_log
    if log is None or not (log.before.failed_maps or (log.since.failed_maps and watched.now.map_failures <= 0)):
        return
    yield Finding(Kind.FAILED_BEFORE, (logged.failed(log), *logged.lines(log)))


def nearly_full(watched: Watched) -> Iterator[Finding]:
    """Hardly any slot is free, or was at the peak."""
    now, fullest = watched.now, watched.fullest or watched.now
    for slots, of, when in (
        (fullest.used_slots, fullest.all_slots, "were in use while this watched"),
        (now.used_hiwater_slots, now.nslabs, "were in use at the peak"),
    ):
        if of > 0 and slots * 100 >= of * NEARLY_FULL_PERCENT:
            share = f"{numbers.count(slots)} of {numbers.count(of)} slots ({numbers.percent(slots, of)}%) {when}"
            yield Finding(Kind.NEARLY_FULL, (share, *holders(fullest)))
            return


def leak(watched: Watched) -> Iterator[Finding]:
    """What a device holds rises from each part of the time to the next, and never falls back."""
    parts = watched.parts(LEAK_PARTS)
    if not parts or watched.duration_ns < LEAK_LEAST_NS:
        return
    now = watched.now
    for device in now.devices:
        least = [min(reading.held_maps.get(device.dev, 0) for reading in part) for part in parts]
        more = least[-1] - least[0]
        slots = more * mean_slots(device)
        rises = all(earlier < later for earlier, later in pairwise(least))
        if not rises or more < LEAK_LEAST_MAPS or slots < LEAK_LEAST_SHARE * now.nslabs:
            continue
        between_ns = parts[-1][0].time_ns - parts[0][0].time_ns
        a_minute = slots * 60e9 / between_ns
        free = max(now.nslabs - now.used_slots, 0)
        left = (
            f"; at this rate the pools are full in {numbers.age(free * between_ns / slots)}"
            if now.used_slots >= 0
            else ""
        )
        evidence = (
            f"it holds {numbers.counted(device.held_maps, 'mapping')}, {numbers.count(more)} more than "
            f"{numbers.age(watched.duration_ns)} before",
            f"about {numbers.short(a_minute)} slots more a minute{left}",
        )
        yield Finding(Kind.LEAK, evidence, device.name, device.driver, device.known_as)


def runaway(watched: Watched) -> Iterator[Finding]:
    """One device took most of the slots between two readings."""
    now = watched.now
    if now.nslabs <= 0:
        return
    for device in now.devices:
        mean = mean_slots(device)
        for before, after in pairwise(watched.readings):
            maps = after.held_maps.get(device.dev, 0) - before.held_maps.get(device.dev, 0)
            slots = min(round(maps * mean), after.used_slots - before.used_slots)
            if after.time_ns - before.time_ns <= RUNAWAY_NS and slots >= RUNAWAY_SHARE * now.nslabs:
                took = f"it took about {numbers.count(slots)} of {numbers.count(now.nslabs)} slots within "
                yield Finding(
                    Kind.RUNAWAY,
                    (
                        f"{took}{numbers.age(after.time_ns - before.time_ns)}",
                        f"it holds {held_slots(device)} slots now",
                    ),
                    device.name,
                    device.driver,
                    device.known_as,
                )
                break


def growth_fails(watched: Watched) -> Iterator[Finding]:
    """Growth ran, and no pool came of it."""
    now = watched.now
    if now.growths >= GROWTHS_LEAST and now.pools_added == 0:
        runs = numbers.counted(now.growths, "run")
        yield Finding(Kind.GROWTH_FAILS, (f"{runs} of swiotlb_dyn_alloc() added no pool",))


def transient(watched: Watched) -> Iterator[Finding]:
    """At most times some map has a pool of its own."""
    readings = watched.readings
    seen = sum(reading.transient_slots > 0 for reading in readings)
    if len(readings) >= TRANSIENT_READINGS_LEAST and seen * 2 >= len(readings):
        yield Finding(Kind.TRANSIENT, (f"{seen} of {len(readings)} readings show transient pools",))


RULES: Final[tuple[Rule, ...]] = (
    harm,
    failing,
    failed_before,
    leak,
    runaway,
    nearly_full,
    growth_fails,
    transient,
)
"""All rules, the worst first."""


def findings(watched: Watched) -> tuple[Finding, ...]:
    """All that is wrong by any rule, the worst first."""
    return tuple(finding for rule in RULES for finding in rule(watched))
