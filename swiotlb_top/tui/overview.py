"""The lines above the tables: how things stand, in words first. Each begins with a label that grep can find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from rich.text import Text

from swiotlb_top.accounting import headline as stands
from swiotlb_top.accounting import logged, numbers
from swiotlb_top.accounting.fields import pool_kind
from swiotlb_top.accounting.finding import FIRST_RECORD, HOW_LARGE, Finding
from swiotlb_top.accounting.frame import HISTORY, Frame
from swiotlb_top.accounting.headline import Level
from swiotlb_top.accounting.past import mapped_bytes
from swiotlb_top.accounting.scene import Scene
from swiotlb_top.accounting.snapshot import DeviceView, PoolView, Snapshot, VerdictView
from swiotlb_top.tui import charts, styles
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.hanging import LABEL_WIDTH, Line, labelled

_GAUGE_CELLS: Final = 40
_MOST_GAUGE_CELLS: Final = 100
_WIDE: Final = 90
"""From this width on, all rates fit one line."""
_MOST_OTHERS: Final = 3
"""So many findings are named beside the worst."""
_ANSWERS: Final = ("boot with", "no size")
"""How the first line of what was computed begins, where it is an answer."""
_CALM: Final = (Level.NEARLY_FULL, Level.FAILED, Level.TROUBLE, Level.UNCLEAR)
"""Headlines under which it is said what else could be wrong unseen."""


def overview(
    frame: Frame, glyphs: Glyphs, width: int, sized: Sequence[str] | None = None, *, with_trend: bool = True
) -> list[Line]:
    """Everything above the tables, the most important first.

    :param sized: how large swiotlb must be for the recording that is shown, empty until that is computed; None where
        there are no keys to ask for it.
    :param with_trend: not where charts show the same.
    """
    return [
        *headline(frame, glyphs),
        *stale(frame, glyphs),
        *findings(frame, glyphs, sized),
        *unknown(frame, glyphs),
        *kernel_log(frame, glyphs),
        *slots(frame, glyphs, width),
        *pools(frame, glyphs),
        rates(frame, glyphs, width),
        *(trend(frame, glyphs, width) if with_trend else ()),
        *verdict(frame, glyphs),
        source(frame, glyphs),
    ]


def source(frame: Frame, glyphs: Glyphs) -> Line:
    """The source, and why this source."""
    now = frame.now
    return labelled("source", now.source, (f": {glyphs.text(now.reason)}" if now.reason else "", styles.DIM))


def stale(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """Why the source does not answer any more, so that all of this is from before."""
    return [labelled("stale", (f"the source fails: {glyphs.text(frame.failure)}", styles.BAD))] if frame.failure else []


def headline(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """How it stands, and why maps fail."""
    found = stands.headline(frame)
    lines = [labelled(found.level.value, (glyphs.text(found.sentence), styles.HEADLINES[found.level]))]
    return lines + (_why(found.device, glyphs) if found.device is not None else [])


def _why(device: DeviceView, glyphs: Glyphs) -> list[Line]:
    """The latest failure in a sentence, and how many had which cause."""
    counted = sorted(device.causes, key=lambda cause: -cause[1])
    words = ", ".join(f"{glyphs.text(cause.value)} {numbers.count(failures)}" for cause, failures in counted)
    told = [glyphs.text(device.last_failure)] if device.last_failure else []
    return [labelled("why", f" {glyphs.dot} ".join([*told, *([words] if words else [])]))] if told or words else []


def findings(frame: Frame, glyphs: Glyphs, sized: Sequence[str] | None = None) -> list[Line]:
    """The worst finding: whose it is, who holds the slots, and what helps; of the others, the kinds and devices.

    What helps is a size of swiotlb= only where one was computed for all that was recorded.
    """
    if not frame.findings:
        return []
    worst, *others = frame.findings
    failing = stands.headline(frame).device
    # Where the headline has all of the sentence, which is whose maps fail, what that means says more.
    told = worst.sentence if worst.holder or not failing or failing.name != worst.device else worst.meaning
    return [
        labelled("found", (worst.kind.value, styles.LABEL), f": {glyphs.text(told)}", _also(others, glyphs)),
        labelled("advice", glyphs.text(_advice(frame, worst, sized))),
    ]


def _advice(frame: Frame, worst: Finding, sized: Sequence[str] | None) -> str:
    """What helps. Of a recording it can be computed which size does."""
    advice = worst.advice[0]
    if frame.now.playback is None:
        return advice
    if HOW_LARGE not in advice:
        return advice.removeprefix(FIRST_RECORD)
    answer = sized[0] if sized else ""
    who = "swiotlb-top size FILE" if sized is None else "S"
    known = f"{who} says which swiotlb= is enough for this recording."
    return answer if answer.startswith(_ANSWERS) else advice.replace(HOW_LARGE, known)


def _also(others: Sequence[Finding], glyphs: Glyphs) -> str:
    named = [f"{other.kind.value} ({other.device})" if other.device else other.kind.value for other in others]
    more = [f"{len(named) - _MOST_OTHERS} more"] if len(named) > _MOST_OTHERS else []
    return f" {glyphs.dot} also {glyphs.text(', '.join([*named[:_MOST_OTHERS], *more]))}" if named else ""


def unknown(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """What is not known, where no trouble is going on."""
    found = stands.headline(frame)
    reasons = found.unknown if found.level in _CALM else ()
    return [labelled("unknown", (glyphs.text(reason), styles.WARN)) for reason in reasons]


def kernel_log(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """The kernel's own lines about trouble: the device and cause with the most lines, and how many more there are."""
    log = frame.now.kernel_log
    told = list(logged.lines(log)) if log else []
    if not told:
        return []
    more = f"; {len(told) - 1} more: swiotlb-top why" if len(told) > 1 else ""
    return [labelled("dmesg", (f"{glyphs.text(told[0])}{more}", styles.WARN))]


def slots(frame: Frame, glyphs: Glyphs, width: int) -> list[Line]:
    """A gauge of used slots, a pool beside the other, and beneath it one of the most there ever were."""
    now = frame.now
    share = numbers.percent(now.used_slots, now.all_slots)
    style = styles.words(100 * now.used_slots / now.all_slots if now.all_slots > 0 else 0)
    used = f"{numbers.count(now.used_slots)} of {numbers.count(now.all_slots)} used ({share}%)"
    scene = _scene_of_what_fails(frame)
    then_slots = scene.used_slots if scene else 0
    then = ""
    if scene:
        then = f" now, {numbers.count(then_slots)} at a failure {numbers.age(now.time_ns - scene.time_ns)} ago"
    hiwater = f"high water {numbers.count(now.used_hiwater_slots)}"
    if now.used_hiwater_slots > now.nslabs > 0:
        hiwater += " (more than the pools have)"
    elif now.used_hiwater_slots >= 0 and now.nslabs > 0:
        hiwater += f" ({numbers.percent(now.used_hiwater_slots, now.nslabs)}%)"
    if now.hiwater_is_own:
        hiwater += " since the recording began" if now.playback else " since attaching"
    hiwater += f" {glyphs.dot} transient {numbers.count(now.transient_slots)}"
    memory = f" {glyphs.dot} memory {numbers.size_of_slots(now.nslabs)}"
    # Where it leaves the gauges more room.
    if len(used) + len(then) < len(hiwater):
        then += memory
    else:
        hiwater += memory
    beside = 1 + max(len(used) + len(then), len(hiwater))
    cells = max(0, min(_MOST_GAUGE_CELLS if width > 160 else _GAUGE_CELLS, width - LABEL_WIDTH - beside))
    listed = sorted((pool for pool in now.pools if not pool.transient), key=lambda pool: (not pool.default, pool.start))
    gauge = None if scene else charts.pools_gauge(listed, cells, glyphs)
    gauge = gauge or charts.gauge(now.used_slots, then_slots, now.all_slots, cells, glyphs)
    peak = charts.gauge(0, now.used_hiwater_slots, now.nslabs, cells, glyphs)
    gap = " " if cells else ""
    return [labelled("slots", gauge, gap, (used, style), then), labelled("peak", peak, gap, hiwater)]


def _scene_of_what_fails(frame: Frame) -> Scene | None:
    """How it stood at the latest failure that was looked at, while maps fail: else why they do and what is used now
    seem to contradict each other."""
    if stands.headline(frame).level is not Level.FAILING:
        return None
    return next((failure.scene for failure in frame.now.failures if failure.scene), None)


def pools(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """How many pools of each kind there are, and how large a mapping their free slots can take."""
    found = frame.now.pools
    if not found:
        return []
    counts = ((kind, sum(pool_kind(pool) == kind for pool in found)) for kind in ("default", "grown", "transient"))
    words = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    if frame.now.growths > 0:
        words += f" {glyphs.dot} growths {numbers.count(frame.now.growths)}"
    known = [pool for pool in found if pool.slots is not None]
    if known:
        longest = max(pool.longest_free_slots for pool in known)
        scene = _scene_of_what_fails(frame)
        then = f" now, {scene.explanation.longest_free_slots} then" if scene else ""
        words += f" {glyphs.dot} longest free {longest}{then}"
        words += f" {glyphs.dot} {_fragmented(known)}"
    return [labelled("pools", words)]


def _fragmented(pools: Sequence[PoolView]) -> str:
    worst = max(pool.slots.fragmentation_percent for pool in pools if pool.slots)
    return f"fragmentation {worst:.0f}%"


def rates(frame: Frame, glyphs: Glyphs, width: int) -> Line:
    """Maps, unmaps, failed maps and bytes a second, and how long a map takes."""
    latency = _latency(frame.now, with_median=width >= _WIDE)
    failed = frame.rate(lambda snapshot: snapshot.map_failures)
    dot = f" {glyphs.dot} "
    return labelled(
        "rates",
        f"maps {numbers.rate(frame.rate(lambda s: s.maps))}/s{dot}",
        f"unmaps {numbers.rate(frame.rate(lambda s: s.unmaps))}/s{dot}",
        (f"failed {numbers.rate(failed)}/s", styles.BAD if failed else ""),
        f"{dot}{numbers.megabytes(frame.rate(mapped_bytes))} MB/s",
        f"{dot}{latency}" if latency else "",
    )


def _latency(now: Snapshot, *, with_median: bool) -> str:
    """Latency of the slowest device: percentiles of several devices cannot be combined."""
    slowest = max(now.devices, key=lambda device: device.map_p99_ns, default=None)
    if slowest is None or slowest.map_p99_ns < 0:
        return ""
    median = f"p50 {numbers.duration(slowest.map_p50_ns)}, " if with_median else ""
    return f"{median}p99 {numbers.duration(slowest.map_p99_ns)}"


def trend(frame: Frame, glyphs: Glyphs, width: int) -> list[Line]:
    """Sparklines of the last minutes; none for a single frame."""
    if not frame.history or frame.now.unseen:
        return []
    shown = _TRENDS if width >= 60 else _TRENDS[:2]
    cells = min(HISTORY, (width - LABEL_WIDTH - sum(len(name) + 3 for name, _, _ in shown)) // len(shown))
    if cells < 4:
        return []
    lines = (
        Text.assemble(f"{name} ", charts.sparkline(past(frame, cells), cells, glyphs, style))
        for name, past, style in shown
    )
    return [Line("trend", Text("  ").join(lines))]


_TRENDS: Final[tuple[tuple[str, Callable[[Frame, int], Sequence[float]], str], ...]] = (
    ("maps", lambda frame, most: frame.past(lambda then: then.maps, most), ""),
    ("failed", lambda frame, most: frame.past(lambda then: then.map_failures, most), styles.FILL_BAD),
    ("bytes", lambda frame, most: frame.past(lambda then: then.mapped_bytes, most), ""),
    ("used", lambda frame, most: frame.levels(lambda then: then.used_slots, most), ""),
)
"""Name, the latest values (at most so many), style."""


def verdict(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """What the reference says, in one word and the counts behind it, and how many events were lost."""
    found = frame.now.verdict
    lost = (f"{numbers.count(frame.now.lost)} events lost", styles.WARN if frame.now.lost > 0 else "")
    if found is None:
        return [labelled("verdict", ("unchecked", styles.DIM), f" {glyphs.dot} this source compares nothing")]
    compared = f" {glyphs.dot} {numbers.count(found.compared)} compared with {glyphs.text(found.revision)}"
    bursts = f" {glyphs.dot} in bursts{_latest_burst(frame)}" if frame.now.sampled else ""
    word = (found.word, styles.VERDICTS[found.word])
    lines = [labelled("verdict", word, compared, _doubts(found), f" {glyphs.dot} ", lost, bursts)]
    if found.first_disagreement:
        lines.append(labelled("first", (glyphs.text(found.first_disagreement), styles.BAD)))
    return lines


def _latest_burst(frame: Frame) -> str:
    """When the verdict was reached, so that an old one is seen to be old."""
    since_ns = frame.now.sampled_ns
    return f", the latest {numbers.age(frame.now.time_ns - since_ns)} ago" if since_ns >= 0 else ""


def _doubts(found: VerdictView) -> str:
    counts = (("disagree", found.disagree), ("inconclusive", found.inconclusive), ("unsafe", found.safety_violations))
    return "".join(f", {numbers.count(count)} {word}" for word, count in counts if count)


def notes(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """What is degraded, a line each."""
    return [labelled("note", (glyphs.text(note), styles.DIM)) for note in frame.now.notes]
