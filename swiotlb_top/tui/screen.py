"""One frame laid out for a width and a height; nothing here reads, waits or prints."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swiotlb_top.sources.frame import Frame
from swiotlb_top.tui import lines
from swiotlb_top.tui.columns import DEVICES, POOLS, Column, Row, devices_in_order, pools_in_order
from swiotlb_top.tui.glyphs import Glyphs

POOLS_SHARE: Final = 3
"""Pools get at most one in this many rows while devices want the others."""
FIXED_ROWS: Final = 7
"""Title, footer, two table heads and the three empty lines before them and the notes."""


def render(frame: Frame, glyphs: Glyphs, width: int, height: int | None = None, footer: str = "") -> Group:
    """Lay out ``frame`` in ``width`` columns; ``height`` lines (None: as many as it takes).

    The lines that say what is wrong come first: what a small screen cuts off is the least of it.
    """
    above = [
        *lines.header(frame, glyphs),
        *lines.headline(frame, glyphs),
        *lines.slots(frame, glyphs, width),
        lines.rates(frame, glyphs),
        *lines.verdict(frame, glyphs),
    ]
    notes = lines.notes(frame, glyphs)
    pools, devices = pools_in_order(frame), devices_in_order(frame)
    for_pools = for_devices = None
    if height is not None:
        taken = FIXED_ROWS + sum(_rows(line, width) for line in (*above, *notes))
        for_pools, for_devices = split_rows(height - taken, len(pools), len(devices))
    return Group(
        lines.title(frame, glyphs),
        _hanging(above),
        *_table(POOLS, pools, for_pools, frame, glyphs, width),
        *_table(DEVICES, devices, for_devices, frame, glyphs, width),
        *_below(notes),
        *([Text(footer, style=lines.DIM)] if footer else []),
    )


def split_rows(free: int, pools: int, devices: int) -> tuple[int, int]:
    """Share ``free`` rows: a table that has fewer rows than its share leaves the rest to the other."""
    free = max(free, 2)
    for_pools = min(pools, max(free // POOLS_SHARE, free - devices, 1))
    return for_pools, max(free - for_pools, 1)


def _hanging(labelled: Sequence[lines.Line]) -> Table:
    grid = Table.grid()
    grid.add_column(width=lines.LABEL_WIDTH, style=lines.LABEL)
    grid.add_column(overflow="fold")
    for line in labelled:
        grid.add_row(*line)
    return grid


def _below(notes: Sequence[lines.Line]) -> list[RenderableType]:
    return [Text(), _hanging(notes)] if notes else []


def _rows(line: lines.Line, width: int) -> int:
    return max(1, len(textwrap.wrap(line.text.plain, max(1, width - lines.LABEL_WIDTH))))


def _table(
    columns: Sequence[Column[Row]], rows: Sequence[Row], limit: int | None, frame: Frame, glyphs: Glyphs, width: int
) -> list[RenderableType]:
    """A table under an empty line; nothing at all where the source knows no such rows."""
    if not rows:
        return []
    shown = [column for column in columns if width >= column.from_width]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=lines.LABEL)
    for column in shown:
        table.add_column(column.title, justify="left" if column.text else "right", no_wrap=True, overflow="crop")
    # A cut table says so in its last row, which therefore counts among those that fit.
    count = len(rows) if limit is None or len(rows) <= limit else max(limit - 1, 1)
    for row in rows[:count]:
        table.add_row(*(Text(column.shown(frame, row, glyphs, width)) for column in shown))
    if count == len(rows):
        return [Text(), table]
    return [Text(), table, Text(f"{glyphs.ellipsis} {len(rows) - count} more", style=lines.DIM)]
