"""One frame laid out for a width and a height; nothing here reads, waits or prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rich.text import Text

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import Playback
from swiotlb_top.tui import overview, styles
from swiotlb_top.tui.failure_page import failure_page
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.hanging import cut, hanging
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS, Key
from swiotlb_top.tui.menu_page import menu_page
from swiotlb_top.tui.pages import device_page, findings_in_full, findings_page, help_page, size_page
from swiotlb_top.tui.panels import PANELS, Panel
from swiotlb_top.tui.timeline import LEAST_LINES, timeline
from swiotlb_top.tui.view import PLAIN, Page, View

TWO_COLUMNS_FROM: Final = 150
DEMO: Final = "DEMONSTRATION, NOT THIS MACHINE"
_LEFT: Final = ("devices", "failures", "moment", "log")
_URGENT: Final = ("failures", "moment")
"""Panels that are opened first where maps failed. The first has rows of failures that nobody was asked about beside
those that were explained."""
_GAP: Final = "  "
_LEAST: Final = 3
"""Lines of a panel that is worth opening: title, head, a row."""
_PANELS_NEED: Final = 30
"""Of so many lines the charts get none, unless the panels leave them some."""
_CHARTS_NEED: Final = 12
"""So many of the others are theirs: a title, and two charts that are equally high."""


def plain(frame: Frame, glyphs: Glyphs, width: int) -> list[Text]:
    """The frame as text to read once: no panel is cut, and those with nothing in them are left out."""
    frame = replace(frame, history=())
    lines = [_title(frame, glyphs), *hanging(overview.overview(frame, glyphs, width), width)]
    for panel in PANELS.values():
        if panel.has_content(frame):
            lines += [Text(), *panel.draw(frame, PLAIN, glyphs, width, None)]
    if frame.findings:
        lines += [Text(), Text(f"{glyphs.rule} FINDINGS {len(frame.findings)}", style=styles.LABEL)]
        lines += findings_in_full(frame, glyphs, width)
    below = hanging(overview.notes(frame, glyphs), width)
    return [*lines, *([Text(), *below] if below else [])]


def render(frame: Frame, view: View, glyphs: Glyphs, width: int, height: int) -> list[Text]:
    """Lay out ``frame`` in at most ``height`` lines of at most ``width`` columns, the last one the footer.

    The lines that say what is wrong come first: what a small screen cuts off is the least of it.
    """
    room = height - 2
    above: list[Text] = []
    if view.page is Page.HELP:
        below = _scrolled(help_page(frame, glyphs, width), view, room)
    elif view.page is Page.FINDINGS:
        above, below = _under_the_headline(frame, findings_page(frame, glyphs, width), view, glyphs, width, room)
    elif view.page is Page.SIZE:
        above, below = _under_the_headline(frame, size_page(frame, view, glyphs, width), view, glyphs, width, room)
    elif view.page in (Page.SORT, Page.COLUMNS):
        below = menu_page(view, glyphs, width, room)
    elif view.page is Page.FAILURE:
        page = failure_page(frame, view, glyphs, width)
        above, below = _under_the_headline(frame, page, view, glyphs, width, room)
    elif view.page is Page.DEVICE:
        above, below = _under_the_headline(frame, device_page(frame, view, glyphs, width), view, glyphs, width, room)
    else:
        above, below = _front(frame, view, glyphs, width, room)
    body = [*above, *below][: max(room, 0)]
    body += [Text() for _ in range(room - len(body))]
    colours = styles.WARN if frame.now.demo else styles.BAR
    title = _title(frame, glyphs, _state(frame, view, glyphs))
    for line in (title, *body):
        cut(line, width, glyphs)
    title = _bar(title, width, colours)
    footer = _footer(frame, view, glyphs, width)
    footer.truncate(width)
    return [title, *body, footer][-max(height, 1) :]


def _front(frame: Frame, view: View, glyphs: Glyphs, width: int, room: int) -> tuple[list[Text], list[Text]]:
    """Overview and panels, and beneath them charts, for which some lines are kept where there are many."""
    kept = min(max(room - _PANELS_NEED, 0), _CHARTS_NEED) if frame.readings else 0
    kept -= 1 - kept % 2 if kept else 0
    above, panels, drawn = _with_charts(frame, view, glyphs, width, room, kept, with_trend=kept < LEAST_LINES)
    if drawn and kept < LEAST_LINES:
        # They have room all the same, and show what the trend shows.
        above, panels, drawn = _with_charts(frame, view, glyphs, width, room, kept, with_trend=False)
    return above, [*panels, *drawn]


def _with_charts(
    frame: Frame, view: View, glyphs: Glyphs, width: int, room: int, kept: int, *, with_trend: bool
) -> tuple[list[Text], list[Text], list[Text]]:
    """Overview, panels, and charts in the lines that are kept and that the panels leave."""
    told = overview.overview(frame, glyphs, width, view.sized, with_trend=with_trend)
    above = hanging([*told, *overview.notes(frame, glyphs)], width)
    above = above[: max(room - 2 * _LEAST - len(PANELS), room // 2)]
    panels = _panels(frame, view, glyphs, width, room - kept - len(above))
    return above, panels, timeline(frame, view.minutes, glyphs, width, room - len(above) - len(panels))


def _under_the_headline(
    frame: Frame, page: list[Text], view: View, glyphs: Glyphs, width: int, room: int
) -> tuple[list[Text], list[Text]]:
    above = hanging(overview.headline(frame, glyphs), width)[: max(room // 3, 1)]
    return above, _scrolled(page, view, room - len(above))


def _title(frame: Frame, glyphs: Glyphs, state: str = "") -> Text:
    """Whose picture this is. It stands on every page, so that a demonstration can never be taken for this machine."""
    release = glyphs.text(frame.now.kernel_release) or numbers.UNKNOWN_MARK
    demo = (f" {glyphs.dot} {DEMO}", "bold") if frame.now.demo else ""
    return Text.assemble(("swiotlb-top", "bold"), demo, f" {glyphs.dot} kernel {release}{state}")


def _state(frame: Frame, view: View, glyphs: Glyphs) -> str:
    """Whether the picture stands still, and where a recording is."""
    paused = f" {glyphs.dot} PAUSED, p goes on" if view.paused else ""
    return paused + (f" {glyphs.dot} {_playing(frame.now.playback, glyphs)}" if frame.now.playback else "")


def _playing(playback: Playback, glyphs: Glyphs) -> str:
    at = f"{playback.position_ns / 1e9:.1f}s"
    if playback.position_ns >= playback.length_ns >= 0:
        return f"ended at {at}"
    if playback.length_ns >= 0:
        at += f" of {playback.length_ns / 1e9:.1f}s"
    return f"stopped at {at}" if playback.stopped else f"{glyphs.playing} {playback.speed:g}x at {at}"


def _bar(text: Text, width: int, style: str) -> Text:
    text.pad_right(max(0, width - len(text.plain)))
    text.stylize(style)
    return text


def _footer(frame: Frame, view: View, glyphs: Glyphs, width: int) -> Text:
    if view.kept:
        return Text(glyphs.shortened(view.kept, width), style=styles.WARN)
    if view.typing:
        return Text(f"filter of {view.focus}: {glyphs.text(view.filter)}_   Enter keeps it, Esc clears it")
    keys = [key for key in (*KEYS[:2], *(PLAY_KEYS if frame.now.playback else ()), *KEYS[2:]) if key.word]
    room = width
    kept: list[Key] = []
    for key in sorted(keys, key=lambda key: key.rank):
        takes = len(key.shown) + 1 + len(key.word) + (len(_GAP) if kept else 0)
        if not kept or takes <= room:
            kept.append(key)
            room -= takes
    shown = (Text.assemble((key.shown, styles.LABEL), f" {key.word}") for key in keys if key in kept)
    return Text(_GAP).join(shown)


def _scrolled(page: list[Text], view: View, room: int) -> list[Text]:
    first = min(view.scroll, max(len(page) - room, 0))
    return page[first : first + max(room, 0)]


def _panels(frame: Frame, view: View, glyphs: Glyphs, width: int, room: int) -> list[Text]:
    if width < TWO_COLUMNS_FROM:
        return _stacked(list(PANELS.values()), frame, view, glyphs, width, room)
    half = (width - len(_GAP)) // 2
    left = _stacked([PANELS[name] for name in _LEFT], frame, view, glyphs, half, room)
    others = [panel for name, panel in PANELS.items() if name not in _LEFT]
    right = _stacked(others, frame, view, glyphs, width - half - len(_GAP), room)
    lines = []
    for number in range(max(len(left), len(right))):
        line = left[number] if number < len(left) else Text()
        cut(line, half, glyphs)
        line.pad_right(half - len(line.plain) + len(_GAP))
        lines.append(Text.assemble(line, right[number] if number < len(right) else ""))
    return lines


def _stacked(panels: Sequence[Panel], frame: Frame, view: View, glyphs: Glyphs, width: int, room: int) -> list[Text]:
    asked = [panel.wanted(frame, view, glyphs, width) for panel in panels]
    wanted = [lines if isinstance(lines, int) else len(lines) for lines in asked]
    focus = next((number for number, panel in enumerate(panels) if panel.name == view.focus), 0)
    urgent = [number for number, panel in enumerate(panels) if panel.name in _URGENT and frame.now.failures]
    heights = share(room, wanted, focus, urgent, [panel.least for panel in panels])
    lines: list[Text] = []
    for panel, whole, height in zip(panels, asked, heights, strict=True):
        if not isinstance(whole, int) and height == len(whole):
            lines += whole
        elif height:
            lines += panel.draw(frame, view, glyphs, width, height)[:height]
    return lines


def share(
    room: int, wanted: Sequence[int], focus: int, urgent: Sequence[int] = (), least: Sequence[int] = ()
) -> list[int]:
    """Lines for each of some panels that want so many, and are not worth opening for less than ``least`` (or 3).

    Each gets its title as far as that goes. The one in focus and the urgent ones are opened, then the
    one in focus gets up to half of the lines; then the others are opened in order, the most urgent gets
    two lines more, and then each gets as much as it wants, in the same order.
    """
    given = [0] * len(wanted)
    order = [*dict.fromkeys([focus, *urgent, *range(len(wanted))])]
    for number in order:
        given[number] = min(1, wanted[number], max(room - sum(given), 0))
    opened = [(number, least[number] if least else _LEAST) for number in order]
    first = 1 + len(set(urgent) - {focus})
    favoured = (focus, room // 2)
    more_urgent = [(number, _LEAST + 2) for number in urgent[:1]]
    filled = [(number, wanted[number]) for number in order]
    for number, most in (*opened[:first], favoured, *opened[first:], *more_urgent, *filled):
        left = max(room - sum(given), 0)
        more = max(min(wanted[number], most) - given[number], 0)
        # A panel that cannot have a row stays shut.
        if more <= left or given[number] > 1:
            given[number] += min(more, left)
    return given
