"""Tables made of fields: which columns fit, which rows are shown, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple

from rich.text import Text

from swiotlb_top.accounting import fields, numbers
from swiotlb_top.accounting.fields import Field, Row, Unit, Value
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import DeviceView, FailureView, PoolView
from swiotlb_top.tui import charts, mouse, styles
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.view import Order, View

_GAP: Final = "  "
_LEFT: Final = frozenset({Unit.WORDS, Unit.ADDRESS, Unit.HISTOGRAM})
MOST_ROWS: Final = 1000
"""How many rows a table has where its height is not limited: a kernel may have tens of thousands of transient pools."""
_LEAST_NAME: Final = 8


@dataclass(frozen=True)
class Table(Generic[Row]):
    """The rows of a panel: its fields, its rows in their own order, and what a row is known by."""

    fields: tuple[Field[Row], ...]
    rows: Callable[[Frame], Sequence[Row]]
    key: Callable[[Row], Hashable]
    alarm: Callable[[Frame, Row, Field[Row]], str]
    """Style of a cell that should be seen."""

    def shown(self, frame: Frame, view: View, name: str) -> list[Row]:
        """The rows that match the filter, in the chosen order."""
        rows = [row for row in self.rows(frame) if self._matches(frame, row, view.filters.get(name, ""))]
        order = view.orders.get(name)
        return rows if order is None else self._sorted(frame, rows, order)

    def field(self, name: str) -> Field[Row]:
        return next(field for field in self.fields if field.name == name)

    def _sorted(self, frame: Frame, rows: list[Row], order: Order) -> list[Row]:
        value = self.field(order.field).value
        known = [(found, row) for row in rows if (found := value(frame, row)) is not None]
        unknown = [row for row in rows if value(frame, row) is None]
        # Words read from A on; of numbers the large ones are looked for.
        known.sort(key=lambda pair: _comparable(pair[0]), reverse=not order.ascending)
        return [row for _, row in known] + unknown

    def _matches(self, frame: Frame, row: Row, wanted: str) -> bool:
        if not wanted:
            return True
        named = (field for field in self.fields if field.unit in (Unit.WORDS, Unit.ADDRESS))
        words = " ".join(numbers.shown(field.value(frame, row), field.unit) for field in named)
        return wanted.casefold() in words.casefold()


def _comparable(value: Value) -> tuple[float, str]:
    """Words before numbers: a column has only one of them."""
    if isinstance(value, str):
        return 0.0, value.casefold()
    return (float(sum(value)) if isinstance(value, tuple) else float(value or 0)), ""


def name_width(width: int) -> int:
    """Columns for a name: what the numbers beside it leave at 40, 80 and 120 columns."""
    return max(_LEAST_NAME, min(40, width // 5 + 8))


class _Cell(NamedTuple):
    """The text of a cell without padding, and its style."""

    shown: str
    alarm: str


class _Column(Generic[Row]):
    """One column as it is drawn: every cell as wide as the widest."""

    def __init__(self, field: Field[Row], title: str, cells: Sequence[_Cell]) -> None:
        self.field: Field[Row] = field
        self.title = title
        self.cells = cells
        self.width = max(len(title), *(len(cell.shown) for cell in cells), 0)
        self.is_unknown = all(cell.shown == numbers.UNKNOWN_MARK for cell in cells)
        self.is_futile = self.is_unknown and field.rank >= fields.RARE

    def padded(self, shown: str) -> str:
        return shown.ljust(self.width) if self.field.unit in _LEFT else shown.rjust(self.width)


def columns(
    table: Table[Row],
    frame: Frame,
    rows: Sequence[Row],
    glyphs: Glyphs,
    width: int,
    order: Order | None,
    chosen: Sequence[str] = (),
) -> list[Text]:
    """The head and a line for each of ``rows``, of as many columns as fit ``width``.

    The column sorted by stays; of the others those of the lowest rank do, and of which anything is known. Columns that
    are rarely known are left out where they are empty.

    :param chosen: the fields that the user chose; empty: all.
    """
    found = []
    for field in table.fields:
        if chosen and field.name not in chosen and (not order or order.field != field.name):
            continue
        title = field.title
        if order and order.field == field.name:
            title += glyphs.rising if order.ascending else glyphs.falling
        found.append(_Column(field, title, [_cell(table, frame, row, field, glyphs, width) for row in rows]))
    kept: list[_Column[Row]] = []
    room = width
    for column in sorted(found, key=lambda c: (not order or c.field.name != order.field, c.is_unknown, c.field.rank)):
        if not kept or (column.width <= room and (chosen or not column.is_futile)):
            room -= column.width + len(_GAP)
            kept.append(column)
    kept.sort(key=lambda column: table.fields.index(column.field))
    head = Text(_GAP.join(column.padded(column.title) for column in kept).rstrip(), style=styles.LABEL)
    return [head, *(_line(kept, row) for row in range(len(rows)))]


def _line(kept: Sequence[_Column[Row]], row: int) -> Text:
    line = Text(_GAP.join([column.padded(column.cells[row].shown) for column in kept]))
    end = -len(_GAP)
    for column in kept:
        end += len(_GAP) + column.width
        shown, alarm = column.cells[row]
        if alarm:
            begin = end - (column.width if column.field.unit in _LEFT else len(shown))
            line.stylize(alarm, begin, begin + len(shown))
    return line


def _cell(table: Table[Row], frame: Frame, row: Row, field: Field[Row], glyphs: Glyphs, width: int) -> _Cell:
    value = field.value(frame, row)
    if isinstance(value, tuple):
        return _Cell(charts.histogram(value, glyphs), "")
    shown = numbers.shown(value, field.unit)
    if field.unit is Unit.WORDS:
        shown = glyphs.shortened(shown, max(name_width(width), width // 2 if field.name == "sentence" else 0))
    return _Cell(shown, table.alarm(frame, row, field))


def draw(
    table: Table[Row],
    name: str,
    frame: Frame,
    view: View,
    glyphs: Glyphs,
    width: int,
    height: int | None,
    *,
    focused: bool,
) -> list[Text]:
    """Head and rows in at most ``height`` lines (None: :data:`MOST_ROWS` rows); the selected row is among them."""
    rows = table.shown(frame, view, name)
    at = selected_index(table, rows, view, name)
    window = _window(len(rows), at, MOST_ROWS if height is None else max(height - 1, 0))
    seen = rows[window.start : window.stop]
    chosen = view.columns.get(name, ())
    lines = columns(table, frame, seen, glyphs, width, view.orders.get(name), chosen)
    if focused and name in view.selected:
        row = 1 + at - window.start
        lines[row] = Text(lines[row].plain.ljust(width), style=styles.SELECTED)
    for line, shown in zip(lines[1:], seen, strict=True):
        mouse.of_row(line, name, table.key(shown))
    left = len(rows) - len(seen)
    if left and (height is None or height > len(lines)):
        lines.append(Text(f"{glyphs.ellipsis} {left} more", style=styles.DIM))
    return lines


def selected_index(table: Table[Row], rows: Sequence[Row], view: View, name: str) -> int:
    """The index of the selected row; 0 if it is gone, or none was selected."""
    key = view.selected.get(name)
    return next((number for number, row in enumerate(rows) if table.key(row) == key), 0)


def _window(rows: int, at: int, room: int) -> range:
    """Which rows are shown: all, or as many as fit above a line that says how many more there are."""
    if rows <= room:
        return range(rows)
    room = max(room - 1, 1)
    first = min(max(at - room // 2, 0), rows - room)
    return range(first, first + room)


def pools_in_order(frame: Frame) -> list[PoolView]:
    """The fullest first; of those equally full the default pool, then grown ones, then transient ones, by address."""

    def trouble(pool: PoolView) -> tuple[bool, float, bool, int]:
        return pool.transient, -pool.used_slots / max(pool.nslabs, 1), not pool.default, pool.start

    return sorted(frame.now.pools, key=trouble)


def devices_in_order(frame: Frame) -> list[DeviceView]:
    """Who fails most first, then who maps most, then by name."""

    def trouble(device: DeviceView) -> tuple[float, float, int, str]:
        failed = frame.device_rate(device, lambda d: d.map_failures) or 0.0
        mapped = frame.device_rate(device, lambda d: d.maps) or 0.0
        return -failed, -mapped, -device.map_failures, device.name

    return sorted(frame.now.devices, key=trouble)


def _pool_alarm(frame: Frame, pool: PoolView, field: Field[PoolView]) -> str:
    if field.name == "used_percent" and pool.nslabs > 0:
        return styles.words(100 * pool.used_slots / pool.nslabs)
    return ""


def _device_alarm(frame: Frame, device: DeviceView, field: Field[DeviceView]) -> str:
    if field.name == "map_failures_per_second" and frame.device_rate(device, lambda d: d.map_failures):
        return styles.BAD
    return ""


def _failure_alarm(frame: Frame, failure: FailureView, field: Field[FailureView]) -> str:
    return styles.BAD if field.name == "reference" and failure.reference == "disagrees" else ""


POOLS: Final = Table(fields.POOLS, pools_in_order, lambda pool: pool.address, _pool_alarm)
DEVICES: Final = Table(fields.DEVICES, devices_in_order, lambda device: device.dev, _device_alarm)
FAILURES: Final = Table(
    fields.FAILURES,
    lambda frame: frame.now.failures,
    lambda failure: (failure.time_ns, failure.cpu, failure.dev),
    _failure_alarm,
)
