"""Frames one after another as plain text, for pipes, files and dumb terminals."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.tui.glyphs import Glyphs
from swiotlb_top.tui.screen import plain


def print_frames(frames: Iterable[Frame], console: Console, glyphs: Glyphs) -> None:
    """Print each frame as it comes, without escape codes or trailing blanks, an empty line between two.

    :raises BrokenPipeError: the reader went away.
    """
    between = ""
    for frame in frames:
        with console.capture() as capture:
            for line in plain(frame, glyphs, console.width):
                console.print(line, soft_wrap=True)
        text = "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
        console.file.write(between + text)
        console.file.flush()
        between = "\n"
