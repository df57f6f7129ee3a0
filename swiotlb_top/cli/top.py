"""The live screen: chooses the source and the way it is shown."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from swiotlb_top.errors import Exit
from swiotlb_top.sources import Source
from swiotlb_top.sources.sampler import frames


def show(*, count: int | None, interval_s: float, as_json: bool, source: str, trace: Path | None) -> Exit:
    """Show ``count`` frames ``interval_s`` apart.

    :raises SwiotlbTopError: no source can be had.
    """
    with closing(_open(source, trace)) as opened:
        if as_json:
            from swiotlb_top.tui.json_frames import write_frames

            write_frames(frames(opened, interval_s, count), sys.stdout)
        else:
            _draw(opened, interval_s, count)
    return Exit.OK


def _open(source: str, trace: Path | None) -> Source:
    from swiotlb_top.sources import select

    if trace is not None:
        return select.open_trace(trace)
    if source == "auto":
        return select.first_that_opens(select.ALL_SOURCES)
    return select.KERNEL_SOURCES[source]()


def _draw(source: Source, interval_s: float, count: int | None) -> None:
    from swiotlb_top.tui.console import open_console

    console = open_console()
    # Counted frames stay in the scrollback; on the alternate screen they would be gone when they are done.
    if console.is_terminal and count is None:
        from swiotlb_top.tui.live import run

        run(source, interval_s, console)
    else:
        from swiotlb_top.tui.plain import print_frames

        print_frames(frames(source, interval_s, count), console)
