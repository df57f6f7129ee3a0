"""The chart of sizes as SVG: failures on the left, the peak as a share of the pool on the right. It needs no font."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from swiotlb_top.sizing.chart import Bar
from swiotlb_top.sizing.units import memory

_ROW: Final = 22
_TOP: Final = 58
_LEFT: Final = 92
"""Where the bars of failures begin; the sizes stand before it."""
_BARS: Final = 210
"""How long the longest bar is."""
_NUMBERS: Final = 90
"""Room for the number behind a bar."""
_RIGHT: Final = _LEFT + _BARS + _NUMBERS
"""Where the bars of the peak begin."""
_WIDTH: Final = _RIGHT + _BARS + _NUMBERS
_STYLE: Final = """\
text { font: 13px monospace; fill: #222 } .head { font-weight: bold } .size { text-anchor: end }
.failures { fill: #c0392b } .peak { fill: #2471a3 } .over { fill: #c0392b } .room { fill: #d6dbdf }
.paper { fill: #fff } .marked { fill: #e8f5e9 }"""


def svg(bars: Sequence[Bar], title: str) -> str:
    """The picture, as a whole file.

    :param bars: one a size, in their order.
    :param title: of the picture, as plain text.
    """
    return "\n".join(_lines(bars, title)) + "\n"


def _lines(bars: Sequence[Bar], title: str) -> Iterator[str]:
    height = _TOP + _ROW * len(bars) + 12
    most = max((bar.failures or 0 for bar in bars), default=0)
    told = escape("".join(char if char.isprintable() else "?" for char in title))
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
    yield f"<title>{told}</title>"
    yield f"<style>\n{_STYLE}\n</style>"
    yield f'<rect class="paper" width="{_WIDTH}" height="{height}"/>'
    yield _text(8, 20, told, "head")
    yield _text(_LEFT, 44, "failures", "head")
    yield _text(_RIGHT, 44, "peak, of the pool", "head")
    for at, bar in enumerate(bars):
        y = _TOP + at * _ROW
        if bar.marked:
            yield f'<rect class="marked" x="0" y="{y - 3}" width="{_WIDTH}" height="{_ROW}"/>'
        yield _text(_LEFT - 10, y + 12, f"{'&gt; ' if bar.marked else ''}{memory(bar.nslabs << 11)}", "size")
        yield from _failures(bar, most, y)
        yield from _peak(bar, y)
    yield "</svg>"


def _failures(bar: Bar, most: int, y: int) -> Iterator[str]:
    length = 0
    if bar.failures:
        length = max(2, bar.failures * _BARS // most)
        yield _rect(_LEFT, y, length, "failures")
    told = "at least 1" if bar.failures is None else str(bar.failures)
    yield _text(_LEFT + length + 6, y + 12, told)


def _peak(bar: Bar, y: int) -> Iterator[str]:
    if bar.peak_slots is None:
        yield _text(_RIGHT, y + 12, "not known")
        return
    yield _rect(_RIGHT, y, _BARS, "room")
    length = min(_BARS, -(-bar.peak_slots * _BARS // bar.nslabs))
    if length:
        yield _rect(_RIGHT, y, length, "over" if bar.peak_slots > bar.nslabs else "peak")
    yield _text(_RIGHT + _BARS + 6, y + 12, f"{100 * bar.peak_slots / bar.nslabs:.3g} %")


def _rect(x: int, y: int, width: int, kind: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{_ROW - 7}"/>'


def _text(x: int, y: int, words: str, kind: str = "") -> str:
    """:param words: escaped already."""
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text{of_kind} x="{x}" y="{y}">{words}</text>'
