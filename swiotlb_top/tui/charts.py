"""Gauges, sparklines and bars: numbers drawn as lengths and heights, each on one line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, groupby, pairwise

from rich.text import Text

from swiotlb_top.accounting.snapshot import PoolView
from swiotlb_top.tui import styles
from swiotlb_top.tui.glyphs import Glyphs

_CELLS_OF_A_POOL = 3
"""A gauge is not divided among pools if one of them would get fewer cells than this."""


def cells_of(part: int, whole: int, cells: int) -> int:
    """How many of ``cells`` show ``part`` of ``whole``: at least one if any is in use, not all if any is left."""
    if part <= 0 or whole <= 0 or cells <= 0:
        return 0
    most = cells if part >= whole else max(cells - 1, 1)
    return min(max(round(cells * part / whole), 1), most)


def gauge(used: int, peak: int, whole: int, cells: int, glyphs: Glyphs) -> Text:
    """A gauge of how much of ``whole`` is in use, and of the most that ever was."""
    full = cells_of(used, whole, cells)
    ever = max(cells_of(peak, whole, cells), full)
    style = styles.level(100 * max(used, peak) / whole if whole > 0 else 0)
    return Text.assemble(
        (glyphs.full * full, style), (glyphs.peak * (ever - full), style), (glyphs.empty * (cells - ever), styles.DIM)
    )


def pools_gauge(pools: Sequence[PoolView], cells: int, glyphs: Glyphs) -> Text | None:
    """One gauge for each pool, side by side, their lengths in proportion to the pools' sizes.

    None if there are not two pools, or not room for two.
    """
    whole = sum(pool.nslabs for pool in pools)
    room = cells - len(pools) + 1
    ends = [0, *(room * slots // whole for slots in accumulate(pool.nslabs for pool in pools))] if whole else []
    widths = [end - begin for begin, end in pairwise(ends)]
    if len(widths) < 2 or min(widths) < _CELLS_OF_A_POOL:
        return None
    gauges = (gauge(pool.used_slots, 0, pool.nslabs, width, glyphs) for pool, width in zip(pools, widths, strict=True))
    return Text(glyphs.border).join(gauges)


def sparkline(values: Sequence[float], cells: int, glyphs: Glyphs, style: str = "") -> Text:
    """The latest values, one in each cell, the newest on the right. Heights are relative to the highest value."""
    latest = values[-cells:] if cells > 0 else ()
    top = max(latest, default=0.0)
    steps = len(glyphs.spark) - 1
    line = Text(" " * (cells - len(latest)))
    for is_some, alike in groupby(latest, key=lambda value: value > 0):
        # Any value but 0 has a height, so that a single failure is seen; a 0 is told from no value.
        heights = (min(steps, max(1, round(steps * value / top))) if is_some else 0 for value in alike)
        drawn = "".join(glyphs.spark[height] if height else glyphs.empty for height in heights)
        line.append(drawn, style if is_some else styles.DIM)
    return line


def columns(values: Sequence[float], top: float, cells: int, rows: int, glyphs: Glyphs) -> list[str]:
    """The latest values as columns side by side, the newest on the right, in ``rows`` lines. ``top`` fills a column."""
    steps = len(glyphs.spark) - 1
    latest = values[-cells:] if cells > 0 else ()
    # Any value but 0 has a height, so that a single failure is seen.
    heights = [min(rows * steps, max(1, round(rows * steps * value / top))) if value > 0 else 0 for value in latest]
    before = [" " * rows] * (cells - len(latest))
    side_by_side = [*before, *(_column(height, rows, glyphs.spark) for height in heights)]
    return ["".join(row) for row in zip(*side_by_side, strict=True)] or [""] * rows


@cache
def _column(height: int, rows: int, spark: str) -> str:
    """What is in the rows of a column, from the top down. A row has as many steps as ``spark`` has signs but one."""
    steps = len(spark) - 1
    return "".join(spark[min(max(height - row * steps, 0), steps)] for row in reversed(range(rows)))


def bar(part: float, most: float, cells: int, glyphs: Glyphs) -> str:
    """A bar whose length is to the width as ``part`` is to ``most``."""
    return glyphs.full * cells_of(round(part), round(most), cells) if part > 0 else ""


def histogram(counts: Sequence[int], glyphs: Glyphs) -> str:
    """Counts side by side. Heights are relative to the highest count."""
    top, steps = max(counts, default=0), len(glyphs.spark) - 1
    return "".join(glyphs.spark[max(1, round(steps * count / top)) if count else 0] for count in counts)
