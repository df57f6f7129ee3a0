"""docs/timeline.svg: part of a timeline as Perfetto's user interface draws it, from the tracks of the file itself.

``python -m tests.support.timeline_docs`` draws it anew.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

import swiotlb_top
from swiotlb_top.convert.perfetto import perfetto_pieces
from tests.support.doctoring import FOUR_CPUS
from tests.support.perfetto_messages import BEGIN, COUNTER, END, INSTANT, parsed

DOCS: Final = Path(__file__).parents[2] / "docs"
BEGIN_NS: Final = 24_300_000_000
END_NS: Final = 24_345_000_000
"""The part that is drawn, on the kernel's clock: the pools fill up, and the kernel adds two."""
_WIDTH: Final = 900
_NAMES: Final = 250
"""Width of the names of tracks."""
_LANE: Final = 7
_COUNTER: Final = 26
_COLOURS: Final = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377")


@dataclass
class Track:
    """One track of the trace, with what lies in the part that is drawn."""

    name: str
    parent: int
    slices: list[tuple[int, int, str]] = field(default_factory=list)
    """Begin, end and name of each slice."""
    instants: list[tuple[int, str]] = field(default_factory=list)
    levels: list[tuple[int, int]] = field(default_factory=list)
    """When a counter changed, and to what; the first is as it was at the beginning."""


def tracks(recording: Path, begin_ns: int = BEGIN_NS, end_ns: int = END_NS) -> dict[int, Track]:
    """The tracks of a recording's timeline, by their numbers, in the order of the file."""
    opened = swiotlb_top.open(recording)
    found: dict[int, Track] = {}
    begun: dict[int, tuple[int, str]] = {}
    for packet in parsed(b"".join(perfetto_pieces(opened.happenings(judged=True), opened.clock, "swiotlb"))).packet:
        if packet.HasField("track_descriptor"):
            of = packet.track_descriptor
            found[of.uuid] = Track(of.name, of.parent_uuid)
        elif packet.HasField("track_event"):
            _add(found[packet.track_event.track_uuid], packet, begun, begin_ns, end_ns)
    for number, (time_ns, name) in begun.items():
        if time_ns < end_ns:
            found[number].slices.append((max(time_ns, begin_ns), end_ns, name))
    return found


def _add(track: Track, packet: Any, begun: dict[int, tuple[int, str]], begin_ns: int, end_ns: int) -> None:
    event, time_ns = packet.track_event, packet.timestamp
    if event.type == BEGIN:
        begun[event.track_uuid] = time_ns, event.name
    elif event.type == END:
        since_ns, name = begun.pop(event.track_uuid)
        if since_ns < end_ns and time_ns >= begin_ns:
            track.slices.append((max(since_ns, begin_ns), min(time_ns, end_ns), name))
    elif event.type == INSTANT and begin_ns <= time_ns < end_ns:
        track.instants.append((time_ns, event.name))
    elif event.type == COUNTER and time_ns < end_ns:
        if time_ns < begin_ns:
            track.levels.clear()
        track.levels.append((max(time_ns, begin_ns), event.counter_value))


def picture(found: dict[int, Track]) -> str:
    """The tracks as SVG: counters of whole pools, what happened, and the lanes of each device."""
    rows, y = [], 22
    for heading, part in _groups(found):
        rows.append(f'<text x="6" y="{y + 9}" class="heading">{escape(heading)}</text>')
        rows.append(f'<line x1="0" x2="{_WIDTH}" y1="{y - 4}" y2="{y - 4}" class="rule"/>')
        for track in part:
            height = _COUNTER if track.levels else 14 if track.instants else _LANE
            rows += _drawn(track, y, height)
            y += height + 2
        y += 10
    ticks = "".join(
        f'<text x="{_x(time_ns):.1f}" y="12">{(time_ns - BEGIN_NS) / 1e6:.0f} ms</text>'
        for time_ns in range(BEGIN_NS, END_NS, 5_000_000)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="10">'
        "<style>.heading{font-weight:bold}.rule{stroke:#ccc}.level{fill:#9db7d5}</style>"
        f'<rect width="{_WIDTH}" height="{y}" fill="#fff"/>{ticks}{"".join(rows)}</svg>\n'
    )


def _groups(found: dict[int, Track]) -> Iterator[tuple[str, list[Track]]]:
    """What is drawn together. Counters of single areas, and the most so far, are left out."""
    counters = [track for track in found.values() if track.levels and track.name.endswith(" used")]
    yield "slots", [track for track in counters if " area " not in track.name]
    yield "growth", [track for track in found.values() if track.instants]
    for number, device in found.items():
        lanes = [track for track in found.values() if track.parent == number and track.slices]
        if lanes:
            yield device.name, lanes


def _x(time_ns: int) -> float:
    return _NAMES + (_WIDTH - _NAMES) * (time_ns - BEGIN_NS) / (END_NS - BEGIN_NS)


def _drawn(track: Track, y: int, height: int) -> Iterator[str]:
    if track.levels:
        yield from _level(track, y, height)
    for begin_ns, end_ns, name in track.slices:
        colour = _COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)]
        width = max(0.5, _x(end_ns) - _x(begin_ns))
        yield (
            f'<rect class="slice" x="{_x(begin_ns):.1f}" y="{y}" width="{width:.1f}" height="{height}" '
            f'fill="{colour}"><title>{escape(name)}</title></rect>'
        )
    for time_ns, name in track.instants:
        x = _x(time_ns)
        yield f'<path class="instant" d="M{x:.1f} {y}l4 8h-8z"/><text x="{x + 6:.1f}" y="{y + 8}">{escape(name)}</text>'


def _level(track: Track, y: int, height: int) -> Iterator[str]:
    most = max(value for _, value in track.levels) or 1
    points, before = [f"M{_x(track.levels[0][0]):.1f} {y + height}"], 0
    for time_ns, value in track.levels:
        points.append(f"H{_x(time_ns):.1f}V{y + height - value * height / most:.1f}")
        before = value
    yield f'<path class="level" d="{"".join(points)}H{_WIDTH}V{y + height}z"/>'
    yield f'<text x="50" y="{y + height - 8}">{escape(track.name)}: {before}, at most {most}</text>'


def main() -> None:
    """Draw it anew."""
    (DOCS / "timeline.svg").write_text(picture(tracks(FOUR_CPUS)))


if __name__ == "__main__":
    main()
