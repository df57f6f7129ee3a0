"""The live screen: draws the sampler's latest frame until told to stop."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.live import Live

from swiotlb_top.sources import Source
from swiotlb_top.sources.sampler import Sampler
from swiotlb_top.tui import glyphs
from swiotlb_top.tui.screen import render
from swiotlb_top.tui.terminal import ending_on_sigterm, keys

FOOTERS: Final = {True: "q quits", False: "Ctrl-C quits"}
"""By whether keys can be read."""
QUIT: Final = ("q", "Q")
KEY_WAIT_S: Final = 0.1
"""How soon a key, a new frame or a new size is seen."""


def run(source: Source, interval_s: float, console: Console) -> None:
    """Draw a frame each ``interval_s`` on the alternate screen until q.

    :raises SwiotlbTopError: the first snapshot cannot be had; a later failure is drawn instead.
    """
    characters = glyphs.for_encoding(console.encoding)
    with (
        ending_on_sigterm(),
        Sampler(source, interval_s) as sampler,
        keys() as pressed,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        drawn: tuple[int, str, int, int] | None = None
        while pressed.read(KEY_WAIT_S if drawn else 0) not in QUIT:
            frame, (width, height) = sampler.frame, console.size
            if drawn != (frame.sequence, frame.failure, width, height):
                footer = FOOTERS[pressed.are_read]
                live.update(render(frame, characters, width, height, footer), refresh=True)
                drawn = (frame.sequence, frame.failure, width, height)
