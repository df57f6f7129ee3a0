"""The live screen: chooses the source and the way it is shown."""

from __future__ import annotations

import importlib.util
import locale
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from swiotlb_top.errors import CannotError, Exit, SwiotlbTopError

if TYPE_CHECKING:
    from swiotlb_top.accounting.frame import Frame
    from swiotlb_top.sources import Source
    from swiotlb_top.tui.glyphs import Glyphs

Opener: TypeAlias = "Callable[[], Source]"


def show(source: Opener, *, count: int | None, interval_s: float, as_json: bool, ascii_only: bool, mouse: bool) -> Exit:
    """Show ``count`` frames ``interval_s`` apart; the status is that of the last headline.

    :param source: how to open what is shown.
    :param ascii_only: draw with ASCII characters even if output and locale have more.
    :param mouse: whether the screen takes the mouse from the terminal.
    :raises CannotError: what draws is not installed.
    :raises SwiotlbTopError: the source cannot be opened.
    """
    if not as_json:
        _need("rich")
    from swiotlb_top.accounting.headline import headline
    from swiotlb_top.findings.noticing import Noticing
    from swiotlb_top.sources.sampler import frames

    # Counted frames stay in the scrollback; on the alternate screen they would be gone when they are done.
    if count is None and not as_json and _on_a_screen(source, interval_s, ascii_only, mouse):
        return Exit.OK
    status = Exit.OK

    def noted(shown: Iterable[Frame]) -> Iterator[Frame]:
        nonlocal status
        for frame in shown:
            yield frame
            status = headline(frame).exit_status

    with closing(source()) as opened:
        _write(noted(map(Noticing(), frames(opened, interval_s, count))), as_json, ascii_only)
    return status


def source_named(name: str, program: Path | None) -> Opener:
    """How to open "live", "debugfs", or "auto": the first of the two that this machine allows.

    :param program: as :func:`.select.open_live` has it.
    """

    def opener() -> Source:
        from swiotlb_top.sources import select

        return select.first_that_opens(select.kernel_sources(program, None if name == "auto" else name))

    return opener


def recording(path: Path, speed: float, start_s: float, *, loops: bool) -> Opener:
    """How to open a recording, to be shown from ``start_s`` on, over and over if it ``loops``."""

    def opener() -> Source:
        from swiotlb_top.sources import select

        return select.open_trace(path, speed, start_s, loops=loops)

    return opener


def demonstration(speed: float, start_s: float, *, loops: bool) -> Opener:
    """How to open the recording that is installed with the tool."""

    def opener() -> Source:
        from swiotlb_top.sources import select

        return select.open_demo(speed, start_s, loops=loops)

    return opener


def _on_a_screen(source: Opener, interval_s: float, ascii_only: bool, mouse: bool) -> bool:
    """Draw on the terminal until q, if there is one."""
    from swiotlb_top.tui.console import is_interactive

    if not is_interactive():
        return False
    _need("textual")
    from swiotlb_top.tui.app import run

    with closing(source()) as opened:
        run(opened, interval_s, _glyphs(ascii_only), written, with_mouse=mouse)
    return True


def written() -> str:
    """Have the flight recorder of this machine write what it holds. Returns what became of it, in one line.

    The screen holds nothing: it has the kernel count, and recording each call costs more than watching. Who wants the
    latest minutes lets a flight recorder run beside it.
    """
    from swiotlb_top.flight.shelf import DIRECTORY, holder
    from swiotlb_top.flight.snapshot import snapshot

    try:
        if holder(DIRECTORY) is None:
            return "not written: no flight recorder runs (swiotlb-top record --flight 2m starts one)"
        return f"written: {snapshot(DIRECTORY)}"
    except (SwiotlbTopError, OSError) as error:
        return f"not written: {error}"


def _need(library: str) -> None:
    """:raises CannotError: the library is not installed: a node that only exports goes without."""
    if importlib.util.find_spec(library) is None:
        raise CannotError(f"the screen needs the Python package {library}, which is not installed", "--json does not")


def _write(shown: Iterable[Frame], as_json: bool, ascii_only: bool) -> None:
    """Write frames one after another on standard output."""
    if as_json:
        from swiotlb_top.tui.json_frames import write_frames

        write_frames(shown, sys.stdout)
        return
    from swiotlb_top.tui.console import open_console
    from swiotlb_top.tui.plain import print_frames

    print_frames(shown, open_console(), _glyphs(ascii_only))


def _glyphs(ascii_only: bool) -> Glyphs:
    from swiotlb_top.tui import glyphs

    # Python writes UTF-8 also where LC_ALL=C says that the terminal may have no such thing.
    return glyphs.ASCII if ascii_only else glyphs.for_encodings(sys.stdout.encoding, locale.getencoding())
