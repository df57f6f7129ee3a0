"""Gauges, sparklines, strips and bars: numbers as lengths and heights, one line each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from rich.text import Text

from swiotlb_top.accounting.slots import sets_of_areas
from swiotlb_top.accounting.snapshot import PoolView, SlotsView
from swiotlb_top.tui import styles
from swiotlb_top.tui.glyphs import Glyphs

_CELLS_OF_A_POOL = 3
"""Where pools would get fewer cells than this of a gauge, it is not divided."""


def cells_of(part: int, whole: int, cells: int) -> int:
    """How many of ``cells`` show ``part`` of ``whole``. Any use is seen, and any room left."""
    if part <= 0 or whole <= 0 or cells <= 0:
        return 0
    most = cells if part >= whole else max(cells - 1, 1)
    return min(max(round(cells * part / whole), 1), most)


def gauge(used: int, peak: int, whole: int, cells: int, glyphs: Glyphs) -> Text:
    """How much of ``whole`` is in use, and was at the most."""
    full = cells_of(used, whole, cells)
    ever = max(cells_of(peak, whole, cells), full)
    style = styles.level(100 * max(used, peak) / whole if whole > 0 else 0)
    return Text.assemble(
        (glyphs.full * full, style), (glyphs.peak * (ever - full), style), (glyphs.empty * (cells - ever), styles.DIM)
    )


def pools_gauge(pools: Sequence[PoolView], cells: int, glyphs: Glyphs) -> Text | None:
    """A gauge a pool, side by side, as long as each is large; None where that is not two pools' worth."""
    whole = sum(pool.nslabs for pool in pools)
    room = cells - len(pools) + 1
    ends = [0, *(room * slots // whole for slots in accumulate(pool.nslabs for pool in pools))] if whole else []
    widths = [end - begin for begin, end in pairwise(ends)]
    if len(widths) < 2 or min(widths) < _CELLS_OF_A_POOL:
        return None
    gauges = (gauge(pool.used_slots, 0, pool.nslabs, width, glyphs) for pool, width in zip(pools, widths, strict=True))
    return Text(glyphs.border).join(gauges)


def sparkline(values: Sequence[float], cells: int, glyphs: Glyphs, style: str = "") -> Text:
    """The latest values, one a cell, as high as they are of the highest; right of what was before."""
    latest = values[-cells:] if cells > 0 else ()
    top = max(latest, default=0.0)
    steps = len(glyphs.spark) - 1
    # Any value but 0 has a height, so that once is not never.
    heights = (min(steps, max(1, round(steps * value / top))) if value > 0 else 0 for value in latest)
    return Text("".join(glyphs.spark[height] for height in heights).rjust(max(cells, 0)), style=style)


def heat_strip(slots: SlotsView, cells: int, glyphs: Glyphs) -> tuple[Text, int]:
    """One cell a slot set, or as many sets a cell as it takes; areas apart. The strip, and sets in a cell."""
    areas = sets_of_areas(slots)
    room = max(cells - (len(areas) - 1), 1)
    in_a_cell = max(1, -(-len(slots.set_free_slots) // room))
    if in_a_cell > 1:
        # Each area's last cell may be short, and needs its place as well.
        while sum(-(-len(sets) // in_a_cell) for sets in areas) > room and in_a_cell < len(slots.set_free_slots):
            in_a_cell += 1
    parts = (
        Text.assemble(
            *(_heat(slots, sets[at : at + in_a_cell], glyphs) for at in range(0, len(sets), in_a_cell)),
        )
        for sets in areas
        if sets
    )
    return Text(glyphs.border).join(parts), in_a_cell


def _heat(slots: SlotsView, sets: range, glyphs: Glyphs) -> tuple[str, str]:
    nslabs = sum(slots.set_nslabs[i] for i in sets)
    used = nslabs - sum(slots.set_free_slots[i] for i in sets)
    steps = len(glyphs.heat) - 1
    shade = cells_of(used, nslabs, steps)
    return glyphs.heat[shade], styles.level(100 * used / nslabs if nslabs else 0) if used else styles.DIM


def bar(part: float, most: float, cells: int, glyphs: Glyphs) -> str:
    """A bar as long as ``part`` is of ``most``."""
    return glyphs.full * cells_of(round(part), round(most), cells) if part > 0 else ""


def histogram(counts: Sequence[int], glyphs: Glyphs) -> str:
    """Counts side by side, as high as they are of the highest."""
    top, steps = max(counts, default=0), len(glyphs.spark) - 1
    return "".join(glyphs.spark[max(1, round(steps * count / top)) if count else 0] for count in counts)
