"""The slots of a pool in cells, each of one slot or of several, and how many lines they take."""

from __future__ import annotations

from typing import NamedTuple

from swiotlb_top.accounting.slots import SlotsView
from swiotlb_top.allocator.runs import ONES
from swiotlb_top.constants import IO_TLB_SEGSIZE, SLOT_SET_SHIFT


class Cell(NamedTuple):
    """Slots that lie together, in one area."""

    nslots: int
    used_slots: int
    dev: int | None
    """Whose the mapping is that has most of them; None if no known mapping has any."""
    begins: bool
    """Whether a mapping begins in it."""
    in_longest_run: bool
    """Whether all of it belongs to the longest run of free slots."""


class Layout(NamedTuple):
    """How cells are put in lines. A line has a part of one area, or several whole areas."""

    grain_slots: int
    """Slots of a cell; the last one of an area may have fewer."""
    cells_in_line: int
    """Cells of one area in a line."""
    areas_in_line: int
    lines: int


def laid_out(slots: SlotsView, width: int, lines: int) -> Layout:
    """The finest cells that fit. Where even a cell an area does not, that.

    A line has a power of two of cells of an area, so that slot sets lie beneath each other.
    """
    grain = 1
    while True:
        in_area = -(-slots.area_nslabs // grain)
        in_line = min(in_area, 1 << max(width, 1).bit_length() - 1)
        areas = max((width + 1) // (in_line + 1), 1) if in_line == in_area else 1
        needed = -(-len(slots.area_used_slots) // areas) * -(-in_area // in_line)
        if needed <= lines or in_area == 1:
            return Layout(grain, in_line, areas, needed)
        grain *= 2


def cells_of_areas(slots: SlotsView, grain_slots: int) -> list[list[Cell]]:
    """The cells of each area. Slots behind the last area are in none: the kernel never gives them out."""
    nareas, area_nslabs = len(slots.area_used_slots), slots.area_nslabs
    in_area = -(-area_nslabs // grain_slots)
    most, begins = _mappings_in(slots, grain_slots, in_area)
    run = slots.longest_free_run
    areas = []
    for area in range(nareas):
        cells = []
        end = (area + 1) * area_nslabs
        for number, first in enumerate(range(area * area_nslabs, end, grain_slots), area * in_area):
            nslots = min(grain_slots, end - first)
            used_slots = nslots - _free(slots.free_masks, first, first + nslots)
            _, dev = most.get(number, (0, None))
            in_run = run.start <= first and first + nslots <= run.stop
            cells.append(Cell(nslots, used_slots, dev, number in begins, in_run))
        areas.append(cells)
    return areas


def _mappings_in(
    slots: SlotsView, grain_slots: int, in_area: int
) -> tuple[dict[int, tuple[int, int | None]], set[int]]:
    """By cell, the slots and the device of the mapping that has most of it; and the cells in which mappings begin."""
    area_nslabs = slots.area_nslabs
    nslabs = area_nslabs * len(slots.area_used_slots)
    most: dict[int, tuple[int, int | None]] = {}
    begins: set[int] = set()
    for slot, nslots, _, _, _, dev in slots.mappings or ():
        begin, end = slot, min(slot + nslots, nslabs)
        while begin < end:
            area, within = divmod(begin, area_nslabs)
            place = within // grain_slots
            number = area * in_area + place
            begins.update((number,) if begin == slot else ())
            next_cell = area * area_nslabs + min((place + 1) * grain_slots, area_nslabs)
            part = min(end, next_cell) - begin
            if part > most.get(number, (0, None))[0]:
                most[number] = part, dev
            begin += part
    return most, begins


def _free(masks: tuple[int, ...], begin: int, end: int) -> int:
    """How many of these slots are free."""
    free = 0
    for slot_set in range(begin >> SLOT_SET_SHIFT, (end - 1 >> SLOT_SET_SHIFT) + 1):
        first = slot_set << SLOT_SET_SHIFT
        low, high = max(begin - first, 0), min(end - first, IO_TLB_SEGSIZE)
        free += (masks[slot_set] >> low & ONES[high - low]).bit_count()
    return free
