"""Charts of the latest minutes, in the lines that the panels leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, zip_longest
from typing import Final, NamedTuple

from rich.text import Text

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.past import mapped_bytes
from swiotlb_top.accounting.readings import Reading
from swiotlb_top.tui import charts, styles
from swiotlb_top.tui.glyphs import Glyphs

LEAST_LINES: Final = 5
"""With fewer lines left there are no charts."""
_LEAST_ROWS: Final = 2
_MOST_ROWS: Final = 20
_TWO_COLUMNS_FROM: Final = 100
_SCALE_WIDTH: Final = 8
_GAP: Final = "  "
_MINUTE_NS: Final = 60_000_000_000
_SHORT_S: Final = (5, 10, 20, 30)
"""While less than a minute is known, the charts are of so many seconds, so that what is known fills them."""


class _Chart(NamedTuple):
    """What one chart shows: a number of each reading, and what its height stands for (None: the highest of them)."""

    title: str
    value: Callable[[Reading], float]
    now: Callable[[Frame], float | None]
    whole: Callable[[Frame], float | None]
    shown: Callable[[float], str]
    style: str = ""


_CHARTS: Final = (
    _Chart(
        "used slots",
        lambda reading: reading.used_slots,
        lambda frame: frame.now.used_slots,
        lambda frame: frame.now.all_slots,
        lambda value: numbers.count(int(value)),
    ),
    _Chart(
        "failed maps/s",
        lambda reading: reading.map_failures_per_second,
        lambda frame: frame.rate(lambda now: now.map_failures),
        lambda frame: None,
        numbers.rate,
        styles.FILL_BAD,
    ),
    _Chart(
        "maps/s",
        lambda reading: reading.maps_per_second,
        lambda frame: frame.rate(lambda now: now.maps),
        lambda frame: None,
        numbers.rate,
    ),
    _Chart(
        "MB/s",
        lambda reading: reading.mapped_bytes_per_second,
        lambda frame: frame.rate(mapped_bytes),
        lambda frame: None,
        numbers.megabytes,
    ),
)
"""The most important first."""


def timeline(frame: Frame, minutes: int, glyphs: Glyphs, width: int, room: int) -> list[Text]:
    """As many charts as fit, in at most ``room`` lines; none where there is too little room, or a single frame.

    :param minutes: how far back they reach at most.
    """
    if room < LEAST_LINES or not frame.readings:
        return []
    columns = 2 if width >= _TWO_COLUMNS_FROM else 1
    offered = _CHARTS[:1] if frame.now.unseen else _CHARTS
    tiers = min((room - 1) // (1 + _LEAST_ROWS), -(-len(offered) // columns))
    rows = min((room - 1) // tiers - 1, _MOST_ROWS)
    span_ns = _span_ns(frame, minutes)
    lines = [_title(span_ns, minutes, glyphs, width)]
    each = (width - (columns - 1) * len(_GAP)) // columns
    for tier in range(tiers):
        of_tier = offered[tier * columns : (tier + 1) * columns]
        drawn = [_draw(chart, frame, span_ns, glyphs, each, rows) for chart in of_tier]
        for beside in zip_longest(*drawn, fillvalue=Text()):
            lines.append(Text(_GAP).join(_padded(part, each) for part in beside))
    return lines


def _title(span_ns: int, minutes: int, glyphs: Glyphs, width: int) -> Text:
    reach = f"{minutes} minutes" if minutes > 1 else "minute"
    part = "" if span_ns == minutes * _MINUTE_NS else f" ({span_ns // 1_000_000_000} s of them)"
    title = f"{glyphs.rule} TIME: the latest {reach}{part} {glyphs.dot} [ and ] choose 1 to 120 "
    return Text.assemble((title, styles.LABEL), (glyphs.rule * max(0, width - len(title)), styles.DIM))


def _span_ns(frame: Frame, minutes: int) -> int:
    """The time that the width of a chart stands for."""
    most_ns = minutes * _MINUTE_NS
    known_ns = frame.now.time_ns - frame.readings[0].begin_ns
    return min(next((s * 1_000_000_000 for s in _SHORT_S if known_ns <= s * 1_000_000_000), most_ns), most_ns)


def _padded(text: Text, width: int) -> Text:
    text.truncate(width)
    text.pad_right(width - len(text.plain))
    return text


def _draw(chart: _Chart, frame: Frame, span_ns: int, glyphs: Glyphs, width: int, rows: int) -> list[Text]:
    cells = max(width - _SCALE_WIDTH - 1, 1)
    begin_ns = frame.now.time_ns - span_ns
    shown = [reading for reading in frame.readings if reading.end_ns > begin_ns]
    values = in_cells(shown, chart.value, begin_ns, span_ns, cells)
    highest = max(map(chart.value, shown), default=0.0)
    whole = chart.whole(frame)
    top = highest if whole is None or whole <= 0 else max(whole, highest)
    room = width - len(chart.title)
    head = Text.assemble((chart.title, styles.LABEL), _said(chart, frame, top, highest, room))
    scale = [chart.shown(top) if top else "", *[""] * (rows - 2), "0"]
    bars = charts.columns([value or 0.0 for value in values], top, cells, rows, glyphs)
    drawn = [Text(bar, style=chart.style) for bar in bars[:-1]]
    drawn.append(_on_the_ground(bars[-1], values, chart.style, glyphs))
    return [
        head,
        *(
            Text.assemble((f"{label:>{_SCALE_WIDTH}}{glyphs.border}", styles.DIM), bar)
            for label, bar in zip(scale, drawn, strict=True)
        ),
    ]


def _said(chart: _Chart, frame: Frame, top: float, highest: float, room: int) -> str:
    """The number now, and the highest that was read; of slots, also the peak, which no reading need have met."""
    now = chart.now(frame)
    shown = numbers.UNKNOWN_MARK if now is None else chart.shown(now)
    if chart.whole(frame) is None:
        return f" {shown} now, highest reading {chart.shown(highest)}"
    hiwater = frame.now.used_hiwater_slots
    peak = f", peak {numbers.count(hiwater)}" if hiwater > highest else ""
    said = f" {shown} of {chart.shown(top)} now, highest reading {chart.shown(highest)}"
    return said + peak if len(said) + len(peak) <= room else said


def in_cells(
    readings: Sequence[Reading], value: Callable[[Reading], float], begin_ns: int, span_ns: int, cells: int
) -> list[float | None]:
    """The highest value of the readings in each cell of a time; None where nothing was read."""
    found: list[float | None] = [None] * cells
    for reading in readings:
        first = (reading.begin_ns - begin_ns) * cells // span_ns
        last = (reading.end_ns - 1 - begin_ns) * cells // span_ns
        for cell in range(max(first, 0), min(last + 1, cells)):
            found[cell] = max(found[cell] or 0.0, value(reading))
    return found


def _on_the_ground(bar: str, values: Sequence[float | None], style: str, glyphs: Glyphs) -> Text:
    """The lowest row of a chart: where the value is 0 there is a dot, and where nothing was read there is nothing."""
    line = Text()
    cells = zip(bar, values, strict=True)
    for is_zero, alike in groupby(cells, key=lambda cell: cell[1] is not None and cell[1] <= 0):
        drawn = "".join(glyphs.empty if is_zero else character for character, _ in alike)
        line.append(drawn, styles.DIM if is_zero else style)
    return line
