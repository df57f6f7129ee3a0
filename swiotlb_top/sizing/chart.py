"""Failures, and the peak as a share of the pool, against the size: a chart of characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from swiotlb_top.sizing.units import memory

_CELLS: Final = 24


class Bar(NamedTuple):
    """One size."""

    nslabs: int
    failures: int | None
    """None: some, and not known how many."""
    peak_slots: int | None
    """None: not known."""
    marked: bool


class Ink(NamedTuple):
    """What bars are drawn with."""

    full: str
    empty: str
    mark: str


def chart(bars: Sequence[Bar], ink: Ink) -> Iterator[str]:
    """The chart, line by line; failures are as long as they are of the most that are known."""
    most = max((bar.failures or 0 for bar in bars), default=0)
    yield f"  {'size':>8}  {'failures':<{_CELLS}}  peak, of the pool"
    for bar in bars:
        mark = ink.mark if bar.marked else " "
        yield f"{mark} {memory(bar.nslabs << 11):>8}  {_failures(bar, most, ink)}  {_peak(bar, ink)}".rstrip()


def _failures(bar: Bar, most: int, ink: Ink) -> str:
    if bar.failures is None:
        return "at least 1".ljust(_CELLS)
    if not bar.failures:
        return "0".ljust(_CELLS)
    number = str(bar.failures)
    room = _CELLS - len(str(most)) - 1
    return (ink.full * max(1, bar.failures * room // most) + " " + number).ljust(_CELLS)


def _peak(bar: Bar, ink: Ink) -> str:
    if bar.peak_slots is None:
        return "not known"
    share = 100 * bar.peak_slots / bar.nslabs
    cells = min(_CELLS, -(-bar.peak_slots * _CELLS // bar.nslabs))
    return f"{ink.full * cells}{ink.empty * (_CELLS - cells)} {share:.3g} %"
