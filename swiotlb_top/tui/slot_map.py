"""A pool drawn slot by slot: where it is free, and which device has the rest.

At one slot a cell, a mapping is a capital and small letters, so that it is told from its neighbour without colours. A
letter on a ground of its own colour is not seen: with colours a mapping is a block that begins with its letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import Final

from rich.text import Text

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.tui import charts, styles
from swiotlb_top.tui.cells import Cell, Layout, cells_of_areas, laid_out
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.hanging import folded
from swiotlb_top.tui.owners import Colours, Drawn, Owner

_NO_MAPPING: Final = "#"
_GAP: Final = "   "
_LEAST_BESIDE: Final = 36
"""Columns beside the map in which what it says can be read."""
_LEAST_BENEATH: Final = 2
"""Lines in which there is a map, and one thing that it says: whose the colours are."""
_MOST_CELLS: Final = IO_TLB_SEGSIZE
"""Of a line: a slot set. A longer one is not easier to read, and plain frames may be very wide."""


def draw(slots: SlotsView, owners: Colours, glyphs: Glyphs, width: int, lines: int) -> tuple[list[Text], Layout]:
    """The map in at most ``lines`` lines, each with the number of its first slot, and how it is laid out.

    A number is bold where an area begins.
    """
    layout = _layout(slots, width, lines)
    grain, in_line, areas_in_line, needed = layout
    areas = cells_of_areas(slots, grain)
    cell = partial(_cell, owners=owners, glyphs=glyphs, tells_run=slots.longest_free_slots < IO_TLB_SEGSIZE)
    drawn = []
    for area in range(0, len(areas), areas_in_line):
        for at in range(0, len(areas[area]), in_line):
            parts = [_cells(map(cell, cells[at : at + in_line])) for cells in areas[area : area + areas_in_line]]
            drawn.append(_line(slots, area, at * grain, Text(glyphs.border).join(parts)))
    if needed <= lines:
        return drawn, layout
    left = f"{glyphs.ellipsis} {len(areas) - (lines - 1) * areas_in_line} more areas"
    return [*drawn[: lines - 1], Text(left, style=styles.DIM)], layout


def _layout(slots: SlotsView, width: int, lines: int) -> Layout:
    return laid_out(slots, min(width - len(str(slots.nslabs)) - 1, _MOST_CELLS), lines)


def _line(slots: SlotsView, area: int, within: int, cells: Text) -> Text:
    label = f"{area * slots.area_nslabs + within:>{len(str(slots.nslabs))}} "
    return Text.assemble((label, styles.DIM if within else styles.LABEL), cells)


def _cells(drawn: Iterable[Drawn]) -> Text:
    return Text.assemble(
        *(("".join(character for character, _ in alike), style) for style, alike in groupby(drawn, key=itemgetter(1)))
    )


def _cell(cell: Cell, owners: Colours, glyphs: Glyphs, *, tells_run: bool) -> Drawn:
    nslots, used_slots, dev, begins, in_longest_run = cell
    if not used_slots:
        return (glyphs.rule, styles.LABEL) if tells_run and in_longest_run else (glyphs.heat[0], styles.DIM)
    owner = None if dev is None else owners.of(dev)
    if used_slots < nslots:
        return glyphs.heat[charts.cells_of(used_slots, nslots, len(glyphs.heat) - 1)], owner.fill if owner else ""
    if owner is None:
        return _NO_MAPPING if nslots == 1 else glyphs.heat[-1], ""
    return owner.begins if begins and nslots == 1 else owner.goes_on


def told(
    slots: SlotsView,
    owners: Colours,
    glyphs: Glyphs,
    width: int,
    lines: int,
    more: Sequence[str] = (),
) -> list[Text]:
    """The map and what it says in at most ``lines`` lines: beside it where there is room, else beneath it.

    :param more: what else is to be said, a line each.
    """
    _, in_line, areas_in_line, _ = _layout(slots, width, lines)
    across = len(str(slots.nslabs)) + areas_in_line * (in_line + 1)
    beside = width - across - len(_GAP)
    if beside < _LEAST_BESIDE:
        who = legend(slots, owners, glyphs, width)
        if lines == _LEAST_BENEATH and who:
            return [*draw(slots, owners, glyphs, width, 1)[0], *who]
        said = [*who, *map(Text, more)][: max((lines - 1) // 2, 0)]
        drawn, layout = draw(slots, owners, glyphs, width, max(lines - len(said) - 1, 1))
        last = f" {glyphs.dot} ".join(scale(slots, layout, glyphs))
        return [*drawn, *said, Text(glyphs.shortened(last, width), style=styles.DIM)][:lines]
    drawn, layout = draw(slots, owners, glyphs, width, lines)
    words = [*more, *scale(slots, layout, glyphs)]
    notes = [*_badges(slots, owners, glyphs), *(Text(piece) for word in words for piece in folded(word, beside))]
    height = min(max(len(drawn), len(notes)), lines)
    if len(notes) > height:
        notes[height - 1].append(f" {glyphs.ellipsis}")
    pairs = zip_longest(drawn[:height], notes[:height], fillvalue=Text())
    return [Text.assemble(line, " " * (across - len(line.plain)), _GAP, note) for line, note in pairs]


def _badges(slots: SlotsView, owners: Colours, glyphs: Glyphs) -> list[Text]:
    """Who has slots, those that have most first."""
    held: Counter[Owner] = Counter()
    mappings: Counter[Owner] = Counter()
    for mapping in slots.mappings or ():
        owner = owners.of(mapping.dev)
        held[owner] += mapping.nslots
        mappings[owner] += 1
    return [
        Text.assemble(
            owner.badge,
            f" {glyphs.text(owner.name)}: {numbers.counted(held_slots, 'slot')} in {numbers.count(mappings[owner])}",
        )
        for owner, held_slots in held.most_common()
    ]


def legend(slots: SlotsView, owners: Colours, glyphs: Glyphs, width: int) -> list[Text]:
    """Who has slots, those that have most first, in one line; empty where nobody has any."""
    line = Text()
    for badge in _badges(slots, owners, glyphs):
        if line and len(line.plain) + len(_GAP) + len(badge.plain) > width:
            break
        line = Text.assemble(line, _GAP if line else "", badge)
    return [line] if line else []


def scale(slots: SlotsView, layout: Layout, glyphs: Glyphs) -> list[str]:
    """Which runs are free, and what a cell is."""
    most = slots.longest_free_slots
    run = f" ({glyphs.rule})" if 0 < most < IO_TLB_SEGSIZE else ""
    found = f"longest free {most}{run} {glyphs.dot} {slots.free_runs} free run{'' if slots.free_runs == 1 else 's'}"
    if layout.grain_slots == 1:
        return [found, f"a cell is a slot: {glyphs.heat[0]} free, a capital begins a mapping"]
    part = f"{glyphs.heat[1]}{glyphs.heat[-2]} partly used, a letter or {glyphs.heat[-1]} full"
    return [found, f"a cell is {layout.grain_slots:,} slots: {glyphs.heat[0]} free, {part}"]
