"""The rules: each looks at what was watched, and gives a finding for each thing that is wrong by it.

A rule claims only what its numbers show. Where they are not known (-1), or too few, it says nothing: what is not known
is told elsewhere (:func:`swiotlb_top.accounting.headline.headline`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from swiotlb_top.accounting import logged, numbers
from swiotlb_top.accounting.finding import Finding, Holder, Kind
from swiotlb_top.accounting.headline import NEARLY_FULL_PERCENT
from swiotlb_top.accounting.snapshot import DeviceView
from swiotlb_top.allocator import Cause
from swiotlb_top.findings import holders
from swiotlb_top.findings.watched import Watched, held_slots, mean_slots

_ASKERS_SHOWN: Final = 5
"""Functions; the device's page and --json have all."""

Rule: TypeAlias = Callable[[Watched], Iterator[Finding]]

KIND_OF_CAUSE: Final[Mapping[Cause, Kind]] = {
    Cause.NOT_INITIALISED: Kind.NO_POOL,
    Cause.WRONG_KIND: Kind.WRONG_KIND,
    Cause.UNREACHABLE: Kind.UNREACHABLE,
    Cause.ABSURD_SIZE: Kind.TOO_LARGE,
    Cause.TOO_LARGE: Kind.TOO_LARGE,
    Cause.PADDED: Kind.TOO_LARGE,
    Cause.EXHAUSTED: Kind.FULL,
    Cause.FRAGMENTED: Kind.FRAGMENTED,
    Cause.MISALIGNED: Kind.UNSUITED,
    Cause.BOUNDARY: Kind.UNSUITED,
    Cause.OVERTAKEN: Kind.FULL,
    Cause.CANNOT_GROW: Kind.CANNOT_GROW,
    Cause.GROW_FAILED: Kind.CANNOT_GROW,
}
"""The kind of finding for each cause of a failure."""

_SHORT_OF_SLOTS: Final = frozenset({Kind.FULL, Kind.FRAGMENTED, Kind.CANNOT_GROW, Kind.UNEXPLAINED})
"""The kinds of finding for which it matters who holds the slots."""

LEAK_LEAST_SHARE: Final = 0.05
"""A device leaks if it holds more and more, and in the end so much more of all slots."""
RUNAWAY_SHARE: Final = 0.5
"""What one device takes of all slots within :data:`RUNAWAY_NS` runs away."""
RUNAWAY_NS: Final = 1_500_000_000
"""The time between two readings, which may be a little late."""
GROWTHS_LEAST: Final = 3
"""Runs of swiotlb_dyn_alloc() that added nothing, before this is said."""
TRANSIENT_READINGS_LEAST: Final = 10
"""How many readings there must be. Half of them have to show a transient pool."""


def harm(watched: Watched) -> Iterator[Finding]:
    """The reference says that the kernel did harm, or something else than it should have done."""
    verdict = watched.now.verdict
    if verdict is None:
        return
    first = (verdict.first_disagreement,) if verdict.first_disagreement else ()
    compared = numbers.counted(verdict.compared, "operation")
    if verdict.safety_violations:
        said = f"{numbers.counted(verdict.safety_violations, 'safety violation')} in {compared} compared"
        yield Finding(Kind.HARM, said, (said, *first))
    elif verdict.disagree:
        said = f"{numbers.count(verdict.disagree)} of {compared} differ"
        yield Finding(Kind.DISAGREE, said, (said, *first))


def failing(watched: Watched) -> Iterator[Finding]:
    """Maps failed while this watched: one finding a device, by its commonest cause; those first that fail now."""
    now, most = watched.now, holders.holder(watched)
    failed = [(_fails_now(watched, device), device) for device in now.devices if device.map_failures > 0]
    for rate, device in sorted(failed, key=lambda found: (-found[0], -found[1].map_failures, found[1].name)):
        kind = KIND_OF_CAUSE[device.causes[0][0]] if device.causes else Kind.UNEXPLAINED
        evidence = [_failures(device)]
        if device.last_failure:
            evidence.append(f"the latest {device.last_failure}")
        if kind is Kind.FRAGMENTED and now.used_slots >= 0:
            evidence.append(f"{numbers.count(now.all_slots - now.used_slots)} slots are free now, in pieces")
        who: Holder | None = None
        if kind in _SHORT_OF_SLOTS:
            evidence += [*holders.told_of_itself(device), *holders.told(watched, most)]
            who = holders.itself(device) or most
        evidence += _askers(device)
        claim = f"{_name(device)} {'fails' if rate else 'failed'}"
        yield Finding(kind, claim, tuple(evidence), device.name, device.driver, who, device.known_as)
    if now.map_failures > 0 and not failed:
        said = f"{numbers.counted(now.map_failures, 'map')} failed, of which device is not known"
        yield Finding(Kind.UNEXPLAINED, said, (said,))


def _fails_now(watched: Watched, device: DeviceView) -> float:
    """Failed maps a second, in the latest frame; 0.0 where none failed, or nobody can tell."""
    frame = watched.frame
    return (frame.device_rate(device, lambda found: found.map_failures) if frame else None) or 0.0


def _name(device: DeviceView) -> str:
    return device.name or "an unknown device"


def _failures(device: DeviceView) -> str:
    # What was given back at once is counted as a map, too.
    asked = device.maps + device.map_failures - dict(device.causes).get(Cause.UNREACHABLE, 0)
    causes = ", ".join(f"{cause.value} {numbers.count(failures)}" for cause, failures in device.causes)
    because = f": {causes}" if causes else ""
    return f"{numbers.count(device.map_failures)} of {numbers.counted(asked, 'map')} failed{because}"


def _askers(device: DeviceView) -> Iterator[str]:
    """Who asked for most of them: a sentence, if that is known."""
    if device.askers and device.askers[0].functions:
        functions, failures = device.askers[0]
        way = " < ".join(functions[:_ASKERS_SHOWN])
        yield f"{numbers.count(failures)} of them were asked for by {way}"


def failed_before(watched: Watched) -> Iterator[Finding]:
    """The kernel's log has failed maps that were not counted here."""
    log = watched.now.kernel_log
    if log is None or not (log.before.failed_maps or (log.since.failed_maps and watched.now.map_failures <= 0)):
        return
    yield Finding(Kind.FAILED_BEFORE, logged.failed(log), (logged.failed(log), *logged.lines(log)))


def nearly_full(watched: Watched) -> Iterator[Finding]:
    """Hardly any slot is free now, or was free at the peak."""
    now, fullest = watched.now, watched.fullest or watched.now
    for slots, of, when in (
        (now.used_slots, now.all_slots, "are in use now"),
        (fullest.used_slots, fullest.all_slots, "were in use while this watched"),
        (now.used_hiwater_slots, now.nslabs, "were in use at the peak"),
    ):
        if of > 0 and slots * 100 >= of * NEARLY_FULL_PERCENT:
            share = f"{numbers.count(slots)} of {numbers.count(of)} slots ({numbers.percent(slots, of)}%) {when}"
            most = holders.holder(watched)
            yield Finding(Kind.NEARLY_FULL, share, (share, *holders.told(watched, most)), holder=most)
            return


def leak(watched: Watched) -> Iterator[Finding]:
    """What a device holds rises from each part of the time to the next, and never falls back."""
    now = watched.now
    for device in now.devices:
        slope = watched.slopes.get(device.dev)
        if slope is None or slope.slots < LEAK_LEAST_SHARE * now.nslabs:
            continue
        full = f"the pools are full in {numbers.age(slope.full_in_ns)}" if slope.full_in_ns >= 0 else ""
        evidence = [
            f"it holds {numbers.counted(device.held_maps, 'mapping')}, {numbers.count(slope.maps)} more than "
            f"{numbers.age(watched.duration_ns)} before",
            f"about {numbers.short(slope.slots_per_minute)} slots more a minute{full and f'; at this rate {full}'}",
        ]
        if device.oldest_ns >= 0:
            evidence.append(f"its oldest mapping has been open for {numbers.age(now.time_ns - device.oldest_ns)}")
        rises = f"{_name(device)} holds about {numbers.short(slope.slots_per_minute)} slots more each minute"
        claim = f"{rises}{full and f'; {full}'}"
        yield Finding(Kind.LEAK, claim, tuple(evidence), device.name, device.driver, known_as=device.known_as)


def runaway(watched: Watched) -> Iterator[Finding]:
    """One device took most of the slots between two readings, and has not given them back by the next one.

    A burst that is over within a second is none.
    """
    now, readings = watched.now, watched.readings
    if now.nslabs <= 0:
        return
    leaps = [
        (before, after, then)
        for before, after, then in zip(readings, readings[1:], [*readings[2:], *readings[-1:]], strict=False)
        if min(after.used_slots, then.used_slots) - before.used_slots >= RUNAWAY_SHARE * now.nslabs
        and after.time_ns - before.time_ns <= RUNAWAY_NS
    ]
    for device in now.devices:
        for before, after, then in leaps:
            maps = min(one.held_maps.get(device.dev, 0) for one in (after, then)) - before.held_maps.get(device.dev, 0)
            slots = min(round(maps * mean_slots(device)), after.used_slots - before.used_slots)
            if slots >= RUNAWAY_SHARE * now.nslabs:
                took = f"took about {numbers.count(slots)} of {numbers.count(now.nslabs)} slots within"
                within = numbers.age(after.time_ns - before.time_ns)
                evidence = (f"it {took} {within}", f"it holds {held_slots(device)} slots now")
                claim = f"{_name(device)} {took} {within}"
                yield Finding(Kind.RUNAWAY, claim, evidence, device.name, device.driver, known_as=device.known_as)
                break


def growth_fails(watched: Watched) -> Iterator[Finding]:
    """Growth ran, and no pool was added."""
    now = watched.now
    if now.growths >= GROWTHS_LEAST and now.pools_added == 0:
        said = f"{numbers.counted(now.growths, 'run')} of swiotlb_dyn_alloc() added no pool"
        yield Finding(Kind.GROWTH_FAILS, said, (said,))


def transient(watched: Watched) -> Iterator[Finding]:
    """Transient pools are there most of the time."""
    readings = watched.readings
    seen = sum(reading.transient_slots > 0 for reading in readings)
    if len(readings) >= TRANSIENT_READINGS_LEAST and seen * 2 >= len(readings):
        said = f"{seen} of {len(readings)} readings show transient pools"
        yield Finding(Kind.TRANSIENT, said, (said,))


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
