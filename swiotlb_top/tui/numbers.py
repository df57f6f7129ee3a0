"""Numbers as people read them: at most seven characters, "-" for what is not known."""

from __future__ import annotations

from typing import Final

SLOT_BYTES: Final = 2048
"""``IO_TLB_SIZE``."""

UNKNOWN_MARK: Final = "-"
_DECIMAL: Final = ("", "k", "M", "G", "T", "P", "E")
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def rate(per_second: float | None) -> str:
    """A rate: 0, 0.4, 230, 14.0k, 1.25M."""
    if per_second is None:
        return UNKNOWN_MARK
    if per_second < 10:
        return "0" if per_second < 0.05 else f"{per_second:.1f}"
    return short(per_second)


def short(value: float) -> str:
    """Three significant digits and a decimal prefix from 10,000 on."""
    if value < 9999.5:
        return f"{value:.0f}"
    power = 0
    while value >= 999.5 and power < len(_DECIMAL) - 1:
        value /= 1000
        power += 1
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}{_DECIMAL[power]}"


def megabytes(bytes_per_second: float | None) -> str:
    """Bytes per second in units of 10^6."""
    return rate(None if bytes_per_second is None else bytes_per_second / 1e6)


def count(value: int) -> str:
    """Every digit, in groups of three."""
    return UNKNOWN_MARK if value < 0 else f"{value:,}"


def percent(part: int, whole: int) -> str:
    """A share in percent with one decimal; never rounded up to 100.0 while anything is left."""
    if part < 0 or whole <= 0:
        return UNKNOWN_MARK
    return f"{min(part * 1000 // whole, 1000) / 10:.1f}"


def size_of_slots(slots: int) -> str:
    """The memory of ``slots`` slots, with a binary prefix."""
    value = float(max(slots, 0) * SLOT_BYTES)
    power = 0
    while value >= 1024 and power < len(_BINARY) - 1:
        value /= 1024
        power += 1
    return f"{value:.0f} {_BINARY[power]}" if value == int(value) else f"{value:.1f} {_BINARY[power]}"
