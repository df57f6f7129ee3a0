"""Frames one after another as plain text, for pipes, files and dumb terminals."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from swiotlb_top.sources.frame import Frame
from swiotlb_top.tui import glyphs
from swiotlb_top.tui.screen import render


def print_frames(frames: Iterable[Frame], console: Console) -> None:
    """Print each frame as it comes, without escape codes or trailing blanks, an empty line between two.

    :raises BrokenPipeError: the reader went away.
    """
    characters = glyphs.for_encoding(console.encoding)
    between = ""
    for frame in frames:
        with console.capture() as capture:
            console.print(render(frame, characters, console.width))
        text = "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
        console.file.write(between + text)
        console.file.flush()
        between = "\n"
