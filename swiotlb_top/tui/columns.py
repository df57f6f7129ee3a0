"""The columns of the two tables: title, what stands in the cell, and how wide a screen must be to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from swiotlb_top.accounting.snapshot import DeviceView, PoolView
from swiotlb_top.sources.frame import Frame
from swiotlb_top.tui import numbers
from swiotlb_top.tui.glyphs import Glyphs

Row = TypeVar("Row", DeviceView, PoolView)


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column; ``text`` marks words, set left and cut to ``name_width`` of the screen's width."""

    title: str
    cell: Callable[[Frame, Row], str]
    from_width: int = 0
    text: bool = False

    def shown(self, frame: Frame, row: Row, glyphs: Glyphs, width: int) -> str:
        """The cell's text for a screen of ``width`` columns."""
        cell = self.cell(frame, row)
        return glyphs.shortened(cell, name_width(width)) if self.text else cell


def name_width(width: int) -> int:
    """Columns for a name: what the numbers beside it leave at 40, 80 and 120 columns."""
    return max(8, min(40, width // 5 + 8))


def pool_kind(pool: PoolView) -> str:
    """ "default", "grown" (by ``swiotlb_dyn_alloc()``) or "transient"."""
    if pool.transient:
        return "transient"
    return "default" if pool.default else "grown"


def driver_or_unknown(device: DeviceView) -> str:
    return device.driver or numbers.UNKNOWN_MARK


def device_name(device: DeviceView) -> str:
    """Its name, or words for a device that was gone before it could be asked."""
    return device.name or "(unknown device)"


POOLS: Final[tuple[Column[PoolView], ...]] = (
    Column("POOL START", lambda _, pool: f"{pool.start:#x}", text=True),
    Column("KIND", lambda _, pool: pool_kind(pool), from_width=50, text=True),
    Column("SLOTS", lambda _, pool: str(pool.nslabs)),
    Column("AREAS", lambda _, pool: str(pool.nareas), from_width=70),
    Column("USED", lambda _, pool: str(pool.used_slots), from_width=60),
    Column("USED%", lambda _, pool: numbers.percent(pool.used_slots, pool.nslabs)),
    Column(
        "LONGEST FREE",
        lambda _, pool: str(pool.longest_free_slots) if pool.longest_free_slots >= 0 else numbers.UNKNOWN_MARK,
        from_width=70,
    ),
)

DEVICES: Final[tuple[Column[DeviceView], ...]] = (
    Column("DEVICE", lambda _, device: device_name(device), text=True),
    Column("DRIVER", lambda _, device: driver_or_unknown(device), from_width=60, text=True),
    Column("MAPS/s", lambda frame, device: numbers.rate(frame.device_rate(device, lambda d: d.maps))),
    Column("FAILED/s", lambda frame, device: numbers.rate(frame.device_rate(device, lambda d: d.map_failures))),
    Column(
        "MB/s",
        lambda frame, device: numbers.megabytes(frame.device_rate(device, lambda d: d.mapped_bytes)),
        from_width=60,
    ),
    Column("HELD", lambda _, device: numbers.short(device.held_maps), from_width=70),
)


def pools_in_order(frame: Frame) -> list[PoolView]:
    """The default pool, then grown ones, then transient ones, each by address."""
    return sorted(frame.now.pools, key=lambda pool: (not pool.default, pool.transient, pool.start))


def devices_in_order(frame: Frame) -> list[DeviceView]:
    """Who fails most first, then who maps most, then by name."""

    def trouble(device: DeviceView) -> tuple[float, float, int, str]:
        failed = frame.device_rate(device, lambda d: d.map_failures) or 0.0
        mapped = frame.device_rate(device, lambda d: d.maps) or 0.0
        return -failed, -mapped, -device.map_failures, device.name

    return sorted(frame.now.devices, key=trouble)
