"""Charts of the latest minutes, in the lines that the panels leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

from rich.text import Text

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.frame import HISTORY, Frame
from swiotlb_top.tui import charts, styles
from swiotlb_top.tui.glyphs import Glyphs

LEAST_LINES: Final = 5
"""With fewer lines left there are no charts."""
_LEAST_ROWS: Final = 2
_MOST_ROWS: Final = 8
_TWO_COLUMNS_FROM: Final = 100
_SCALE_WIDTH: Final = 8
_GAP: Final = "  "


class _Chart(NamedTuple):
    """What one chart shows: its readings, and what its height stands for (None: the highest of them)."""

    title: str
    readings: Callable[[Frame], Sequence[float]]
    whole: Callable[[Frame], float | None]
    shown: Callable[[float], str]
    style: str = ""


def _used(frame: Frame) -> Sequence[float]:
    return [*(max(then.used_slots, 0) for then in frame.history), max(frame.now.used_slots, 0)]


_CHARTS: Final = (
    _Chart("used slots", _used, lambda frame: frame.now.all_slots, lambda value: numbers.count(int(value))),
    _Chart("failed maps/s", lambda f: f.past(lambda p: p.map_failures), lambda f: None, numbers.rate, styles.FILL_BAD),
    _Chart("maps/s", lambda f: f.past(lambda p: p.maps), lambda f: None, numbers.rate),
    _Chart("MB/s", lambda f: f.past(lambda p: p.mapped_bytes), lambda f: None, numbers.megabytes),
)
"""The most important first."""


def timeline(frame: Frame, glyphs: Glyphs, width: int, room: int) -> list[Text]:
    """As many charts as fit, in at most ``room`` lines; none where there is too little room, or a single frame."""
    if room < LEAST_LINES or not frame.history:
        return []
    columns = 2 if width >= _TWO_COLUMNS_FROM else 1
    offered = _CHARTS[:1] if frame.now.unseen else _CHARTS
    tiers = min((room - 1) // (1 + _LEAST_ROWS), -(-len(offered) // columns))
    rows = min((room - 1) // tiers - 1, _MOST_ROWS)
    since_ns = frame.now.time_ns - frame.history[0].time_ns
    title = f"{glyphs.rule} TIME: the latest {numbers.age(since_ns)} "
    lines = [Text.assemble((title, styles.LABEL), (glyphs.rule * max(0, width - len(title)), styles.DIM))]
    each = (width - (columns - 1) * len(_GAP)) // columns
    for tier in range(tiers):
        drawn = [_draw(chart, frame, glyphs, each, rows) for chart in offered[tier * columns : (tier + 1) * columns]]
        for beside in zip_longest(*drawn, fillvalue=Text()):
            lines.append(Text(_GAP).join(_padded(part, each) for part in beside))
    return lines


def _padded(text: Text, width: int) -> Text:
    text.truncate(width)
    text.pad_right(width - len(text.plain))
    return text


def _draw(chart: _Chart, frame: Frame, glyphs: Glyphs, width: int, rows: int) -> list[Text]:
    cells = max(min(width - _SCALE_WIDTH - 1, HISTORY), 1)
    readings = chart.readings(frame)[-cells:]
    highest = max(readings, default=0.0)
    whole = chart.whole(frame)
    top = highest if whole is None or whole <= 0 else max(whole, highest)
    now = f" {chart.shown(readings[-1])} of {chart.shown(top)}," if whole is not None and readings else ""
    head = Text.assemble((chart.title, styles.LABEL), f"{now} highest reading {chart.shown(highest)}")
    scale = [chart.shown(top), *[""] * (rows - 2), "0"]
    bars = charts.columns(readings, top, cells, rows, glyphs)
    return [
        head,
        *(
            Text.assemble((f"{label:>{_SCALE_WIDTH}}{glyphs.border}", styles.DIM), (bar, chart.style))
            for label, bar in zip(scale, bars, strict=True)
        ),
    ]
