"""A pool drawn slot by slot: where it is free, and which device has the rest.

At one slot a cell, a mapping is a capital and small letters, so that it is told from its neighbour without colours. A
letter on a ground of its own colour is not seen: with colours a mapping is a block that begins with its letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from string import ascii_lowercase
from typing import Final, TypeAlias

from rich.text import Text

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.accounting.snapshot import DeviceView
from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.tui import charts, styles
from swiotlb_top.tui.cells import Cell, Layout, cells_of_areas, laid_out
from swiotlb_top.tui.glyphs import Glyphs

_UNOWNED: Final = "?"
_SURPLUS: Final = "+"
_NO_MAPPING: Final = "#"
_GAP: Final = "   "
_MOST_CELLS: Final = IO_TLB_SEGSIZE
"""Of a line: a slot set. A longer one is not easier to read, and plain frames may be very wide."""
_Drawn: TypeAlias = tuple[str, str]
"""A character and its style."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has slots, as the map shows it."""

    letter: str
    name: str
    fill: str
    """The colour of its slots."""
    ink: str
    """The colour in which its letter is seen on them."""

    @property
    def begins(self) -> _Drawn:
        return self.letter.upper(), f"{self.ink} on {self.fill}"

    @property
    def goes_on(self) -> _Drawn:
        return self.letter, f"{self.fill} on {self.fill}"


NOBODY: Final = Owner(_UNOWNED, "not known whose", *styles.OWNER_UNKNOWN)


class Owners:
    """Letters and colours of devices: the same in each frame, unless a device comes or goes.

    :param devices: all that are known. Those after the 26th share a sign.
    """

    def __init__(self, devices: Iterable[DeviceView]) -> None:
        self._owners = {
            device.dev: Owner(
                ascii_lowercase[number] if number < len(ascii_lowercase) else _SURPLUS,
                f"{device.name} ({device.known_as})" if device.known_as else device.name,
                *styles.OWNERS[number % len(styles.OWNERS)],
            )
            for number, device in enumerate(sorted(devices, key=lambda device: (device.name, device.dev)))
        }

    def of(self, dev: int) -> Owner:
        """Who has what this device mapped; :data:`NOBODY` where that is not known."""
        return self._owners.get(dev, NOBODY)


def draw(slots: SlotsView, owners: Owners, glyphs: Glyphs, width: int, lines: int) -> tuple[list[Text], Layout]:
    """The map in at most ``lines`` lines, each with the number of its first slot, and how it is laid out.

    A number is bold where an area begins.
    """
    layout = laid_out(slots, min(width - len(str(slots.nslabs)) - 1, _MOST_CELLS), lines)
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


def _line(slots: SlotsView, area: int, within: int, cells: Text) -> Text:
    label = f"{area * slots.area_nslabs + within:>{len(str(slots.nslabs))}} "
    return Text.assemble((label, styles.DIM if within else styles.LABEL), cells)


def _cells(drawn: Iterable[_Drawn]) -> Text:
    return Text.assemble(
        *(("".join(character for character, _ in alike), style) for style, alike in groupby(drawn, key=itemgetter(1)))
    )


def _cell(cell: Cell, owners: Owners, glyphs: Glyphs, *, tells_run: bool) -> _Drawn:
    nslots, used_slots, dev, begins, in_longest_run = cell
    if not used_slots:
        return (glyphs.rule, styles.LABEL) if tells_run and in_longest_run else (glyphs.heat[0], styles.DIM)
    owner = None if dev is None else owners.of(dev)
    if used_slots < nslots:
        return glyphs.heat[charts.cells_of(used_slots, nslots, len(glyphs.heat) - 1)], owner.fill if owner else ""
    if owner is None:
        return _NO_MAPPING if nslots == 1 else glyphs.heat[-1], ""
    return owner.begins if begins and nslots == 1 else owner.goes_on


def badge(owner: Owner) -> Text:
    """Its letter on its colour."""
    return Text(f" {owner.letter.upper()} ", style=f"{owner.ink} on {owner.fill}")


def legend(slots: SlotsView, owners: Owners, glyphs: Glyphs, width: int) -> list[Text]:
    """Who has slots, those that have most first, in one line; empty where nobody has any."""
    held: Counter[Owner] = Counter()
    mappings: Counter[Owner] = Counter()
    for mapping in slots.mappings or ():
        owner = owners.of(mapping.dev)
        held[owner] += mapping.nslots
        mappings[owner] += 1
    line = Text()
    for owner, held_slots in held.most_common():
        words = f" {glyphs.text(owner.name)}: {numbers.counted(held_slots, 'slot')} in {numbers.count(mappings[owner])}"
        more = Text.assemble(_GAP if line else "", badge(owner), words)
        if line and len(line.plain) + len(more.plain) > width:
            break
        line.append_text(more)
    return [line] if line else []


def scale(slots: SlotsView, layout: Layout, glyphs: Glyphs) -> str:
    """What a cell is."""
    most = slots.longest_free_slots
    run = f" ({glyphs.rule})" if 0 < most < IO_TLB_SEGSIZE else ""
    found = f"longest free {most}{run} {glyphs.dot} {slots.free_runs} free run{'' if slots.free_runs == 1 else 's'}"
    if layout.grain_slots == 1:
        cell = f"a cell is a slot: {glyphs.heat[0]} free, a capital begins a mapping"
    else:
        part = f"{glyphs.heat[1]}{glyphs.heat[-2]} partly used, a letter or {glyphs.heat[-1]} full"
        cell = f"a cell is {layout.grain_slots:,} slots: {glyphs.heat[0]} free, {part}"
    return f"{found} {glyphs.dot} {cell}"
