"""Numbers as people read them: at most seven characters, "-" for what is not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swiotlb_top.accounting.units import Unit, Value
from swiotlb_top.constants import IO_TLB_SIZE

UNKNOWN_MARK: Final = "-"
_DECIMAL: Final = ("", "k", "M", "G", "T", "P", "E")
_TIMES: Final = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000), ("ns", 1))
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


def counted(number: int, thing: str) -> str:
    """A number of things: 1 pool, 2 pools, 1,500 pools."""
    return f"{count(number)} {thing}{'' if number == 1 else 's'}"


def percent(part: int, whole: int) -> str:
    """A share in percent with one decimal; never rounded up to 100.0 while anything is left."""
    if part < 0 or whole <= 0:
        return UNKNOWN_MARK
    return f"{min(part * 1000 // whole, 1000) / 10:.1f}"


def size_of_slots(slots: int) -> str:
    """The memory of ``slots`` slots, with a binary prefix."""
    value = float(max(slots, 0) * IO_TLB_SIZE)
    power = 0
    while value >= 1024 and power < len(_BINARY) - 1:
        value /= 1024
        power += 1
    return f"{value:.0f} {_BINARY[power]}" if value == int(value) else f"{value:.1f} {_BINARY[power]}"


def duration(nanoseconds: float) -> str:
    """A time a call takes: 840ns, 3.2us, 14ms, 1.5s."""
    for unit, size in _TIMES:
        if nanoseconds >= size:
            value = nanoseconds / size
            return f"{value:.1f}{unit}" if value < 9.95 and size > 1 else f"{value:.0f}{unit}"
    return "0ns"


def age(nanoseconds: float) -> str:
    """A time since something: 0.4s, 12s, 3m05s, 2h10m, 4d03h."""
    seconds = nanoseconds / 1e9
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for size, big, small, unit in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{big}{whole % size // small:02d}{unit}"
    return f"{whole}s"


_FORMATS: Final[dict[Unit, Callable[[float], str]]] = {
    Unit.ADDRESS: lambda value: f"{int(value):#x}",
    Unit.COUNT: short,
    Unit.SLOTS: lambda value: f"{int(value)}",
    Unit.PERCENT: lambda value: percent(int(value * 10), 1000),
    Unit.BYTES: lambda value: f"{int(value)}",
    Unit.PER_SECOND: rate,
    Unit.PER_MINUTE: rate,
    Unit.BYTES_PER_SECOND: megabytes,
    Unit.DURATION: duration,
    Unit.AGE: age,
    Unit.CLOCK: age,
}


def shown(value: Value, unit: Unit) -> str:
    """A field's value as a cell of a table."""
    if value is None or isinstance(value, tuple):
        return UNKNOWN_MARK
    return value if isinstance(value, str) else _FORMATS[unit](value)
