"""The lines above and below the tables, as words: header, headline, gauge, rates, verdict, notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.text import Text

from swiotlb_top.accounting.snapshot import DeviceView, VerdictView
from swiotlb_top.sources.frame import Frame
from swiotlb_top.tui import numbers
from swiotlb_top.tui.columns import device_name, devices_in_order
from swiotlb_top.tui.glyphs import Glyphs

LABEL: Final = "bold cyan"
DIM: Final = "dim"
GOOD: Final = "green"
WARN: Final = "yellow"
BAD: Final = "bold red"

GAUGE_LEVELS: Final = ((90, BAD), (70, WARN), (0, GOOD))
"""From which percentage of used slots a gauge has which style."""

VERDICT_STYLES: Final = {"agree": GOOD, "disagree": BAD, "inconclusive": WARN}
LABEL_WIDTH: Final = 9


class Line(NamedTuple):
    """A line that starts with its label, so that it can be found with grep; wrapped lines hang beside it."""

    label: str
    text: Text


def labelled(label: str, *parts: str | tuple[str, str]) -> Line:
    return Line(label, Text.assemble(*parts))


def title(frame: Frame, glyphs: Glyphs) -> Text:
    """Whose picture this is."""
    release = glyphs.text(frame.now.kernel_release) or numbers.UNKNOWN_MARK
    return Text.assemble(("swiotlb-top", "bold"), f" {glyphs.dot} kernel {release}")


def header(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """The source, why this source, and whether it still answers."""
    now = frame.now
    lines = [labelled("source", now.source, (f": {glyphs.text(now.reason)}" if now.reason else "", DIM))]
    if frame.failure:
        lines.append(labelled("stale", (f"the source fails: {glyphs.text(frame.failure)}", BAD)))
    return lines


def headline(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """Who fails now, how often and why; what failed earlier; nothing where nothing did."""
    if rate := frame.rate(lambda snapshot: snapshot.map_failures):
        failing = [d for d in devices_in_order(frame) if frame.device_rate(d, lambda device: device.map_failures)]
        if failing:
            rate = frame.device_rate(failing[0], lambda device: device.map_failures)
        return _headline("FAILING", BAD, failing, f"{numbers.rate(rate)} failed maps/s", glyphs)
    if frame.now.map_failures > 0:
        failed = sorted((d for d in frame.now.devices if d.map_failures), key=lambda d: -d.map_failures)
        total = failed[0].map_failures if failed else frame.now.map_failures
        return _headline("failed", WARN, failed, f"{numbers.count(total)} maps since the start", glyphs)
    return []


def _headline(label: str, style: str, devices: Sequence[DeviceView], what: str, glyphs: Glyphs) -> list[Line]:
    """One line for the first of ``devices``, worst first, and its reasons beneath."""
    if not devices:
        return [labelled(label, (f"unknown device: {what}", style))]
    worst, others = devices[0], len(devices) - 1
    driver = f" ({glyphs.text(worst.driver)})" if worst.driver else ""
    more = f"; {others} more device{'s' if others > 1 else ''} below" if others else ""
    who = f"{glyphs.text(device_name(worst))}{driver}"
    return [labelled(label, (f"{who}: {what}", style), more), *_why(worst, glyphs)]


def _why(device: DeviceView, glyphs: Glyphs) -> list[Line]:
    lines = [labelled("why", glyphs.text(device.last_failure))] if device.last_failure else []
    if device.causes:
        counted = sorted(device.causes, key=lambda cause: -cause[1])
        lines.append(labelled("causes", ", ".join(f"{glyphs.text(word)} {numbers.count(n)}" for word, n in counted)))
    return lines


def slots(frame: Frame, glyphs: Glyphs, width: int) -> list[Line]:
    """A gauge of used slots, and beneath it the figures that do not fit in it."""
    now = frame.now
    share = numbers.percent(now.used_slots, now.nslabs)
    percent = float(share) if share != numbers.UNKNOWN_MARK else 0.0
    style = next(style for level, style in GAUGE_LEVELS if percent >= level)
    figures = f" {numbers.count(now.used_slots)} of {numbers.count(now.nslabs)} used ({share}%)"
    cells = max(0, min(40, width - LABEL_WIDTH - len(figures) - 1))
    # Any use is seen: a gauge that rounds 3 of 512 slots to nothing would say "idle".
    filled = min(cells, max(round(cells * percent / 100), 1 if now.used_slots > 0 else 0))
    gauge = ((glyphs.full * filled, style), (glyphs.empty * (cells - filled), DIM))
    extra = f"high water {numbers.count(now.used_hiwater_slots)} {glyphs.dot} "
    extra += f"transient {numbers.count(now.transient_slots)} {glyphs.dot} "
    extra += f"memory {numbers.size_of_slots(now.nslabs)}"
    return [labelled("slots", *gauge, (figures if cells else figures.lstrip(), style)), labelled("", extra)]


def rates(frame: Frame, glyphs: Glyphs) -> Line:
    """Maps, unmaps and failed maps a second, and how often the allocator grew."""
    failed = frame.rate(lambda snapshot: snapshot.map_failures)
    dot = f" {glyphs.dot} "
    return labelled(
        "rates",
        f"maps {numbers.rate(frame.rate(lambda s: s.maps))}/s{dot}",
        f"unmaps {numbers.rate(frame.rate(lambda s: s.unmaps))}/s{dot}",
        (f"failed {numbers.rate(failed)}/s", BAD if failed else ""),
        f"{dot}growths {numbers.count(frame.now.growths)}",
    )


def verdict(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """What the reference says, in one word and the counts behind it, and how many events were lost."""
    found = frame.now.verdict
    lost = (f"{numbers.count(frame.now.lost)} events lost", WARN if frame.now.lost > 0 else "")
    if found is None:
        unchecked = labelled("verdict", ("unchecked", DIM), f" {glyphs.dot} this source compares nothing")
        return [unchecked] + ([labelled("", lost)] if frame.now.lost > 0 else [])
    counts = f" {glyphs.dot} {numbers.count(found.compared)} compared with {glyphs.text(found.revision)}: "
    lines = [labelled("verdict", (found.word, VERDICT_STYLES[found.word]), counts, _counts(found), ", ", lost)]
    if found.first_disagreement:
        lines.append(labelled("first", (glyphs.text(found.first_disagreement), BAD)))
    return lines


def _counts(found: VerdictView) -> str:
    text = f"{numbers.count(found.disagree)} disagree, {numbers.count(found.inconclusive)} inconclusive"
    return text + (f", {numbers.count(found.safety_violations)} unsafe" if found.safety_violations else "")


def notes(frame: Frame, glyphs: Glyphs) -> list[Line]:
    """What is degraded, a line each."""
    return [labelled("note", (glyphs.text(note), DIM)) for note in frame.now.notes]
