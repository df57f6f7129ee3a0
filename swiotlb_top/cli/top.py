"""The live screen: chooses the source and the way it is shown."""

from __future__ import annotations

import locale
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from swiotlb_top.errors import Exit

if TYPE_CHECKING:
    from swiotlb_top.sources import Source

Opener: TypeAlias = "Callable[[], Source]"


def show(source: Opener, *, count: int | None, interval_s: float, as_json: bool, ascii_only: bool) -> Exit:
    """Show ``count`` frames ``interval_s`` apart.

    :param source: how to open what is shown.
    :param ascii_only: where output and locale would have more.
    :raises SwiotlbTopError: no source can be had.
    """
    from swiotlb_top.sources.sampler import frames

    with closing(source()) as opened:
        if as_json:
            from swiotlb_top.tui.json_frames import write_frames

            write_frames(frames(opened, interval_s, count), sys.stdout)
        else:
            _draw(opened, interval_s, count, ascii_only)
    return Exit.OK


def source_named(name: str) -> Opener:
    """How to open "live", "debugfs", or "auto": the first of the two that this machine allows."""

    def opener() -> Source:
        from swiotlb_top.sources import select

        return select.first_that_opens(select.KERNEL_SOURCES) if name == "auto" else select.KERNEL_SOURCES[name]()

    return opener


def recording(path: Path, speed: float, start_s: float) -> Opener:
    """How to open a recording, to be shown from ``start_s`` on."""

    def opener() -> Source:
        from swiotlb_top.sources import select

        return select.open_trace(path, speed, start_s)

    return opener


def demonstration(speed: float, start_s: float) -> Opener:
    """How to open the recording that is installed with the tool."""

    def opener() -> Source:
        from swiotlb_top.sources import select

        return select.open_demo(speed, start_s)

    return opener


def _draw(source: Source, interval_s: float, count: int | None, ascii_only: bool) -> None:
    from swiotlb_top.sources.sampler import frames
    from swiotlb_top.tui import glyphs
    from swiotlb_top.tui.console import is_interactive, open_console

    # Python writes UTF-8 also where LC_ALL=C says that the terminal may have no such thing.
    characters = glyphs.ASCII if ascii_only else glyphs.for_encodings(sys.stdout.encoding, locale.getencoding())
    # Counted frames stay in the scrollback; on the alternate screen they would be gone when they are done.
    if count is None and is_interactive():
        from swiotlb_top.tui.app import run

        run(source, interval_s, characters)
    else:
        from swiotlb_top.tui.plain import print_frames

        print_frames(frames(source, interval_s, count), open_console(), characters)
