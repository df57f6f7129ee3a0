"""Sizes the recording that is shown, in a thread of its own, so that keys and frames go on meanwhile."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from swiotlb_top.errors import SwiotlbTopError
from swiotlb_top.tui.glyphs import Glyphs


class Sizer:
    """Computes once what the page of sizes says, when it is first asked.

    :param recording: the file; None if none is known.
    """

    def __init__(self, recording: Path | None, glyphs: Glyphs) -> None:
        self._recording = recording
        self._glyphs = glyphs
        self._thread: Thread | None = None
        self._told: tuple[str, ...] = ()
        self._bug: Exception | None = None

    def told(self) -> tuple[str, ...]:
        """The lines; empty while they are computed. The first call begins that, and returns at once.

        :raises Exception: a bug in computing it.
        """
        if self._thread is None:
            # Whoever quits does not wait for it.
            self._thread = Thread(target=self._compute, name="sizes", daemon=True)
            self._thread.start()
        if self._bug is not None:
            raise self._bug
        return self._told

    def _compute(self) -> None:
        try:
            self._told = tuple(self._lines())
        except SwiotlbTopError as error:
            self._told = (f"nothing can be said: {error}",)
        except Exception as bug:
            self._bug = bug

    def _lines(self) -> list[str]:
        from swiotlb_top.sizing.chart import Ink
        from swiotlb_top.sizing.report import answer
        from swiotlb_top.sizing.sized import Question

        if self._recording is None:
            return ["nothing can be said: which file this is is not known here; swiotlb-top size FILE"]
        ink = Ink(self._glyphs.full, self._glyphs.empty, self._glyphs.pointer)
        report = answer([self._recording], Question(), None)
        return [*(f"not all of it is sized: {damage}" for damage in report.damage), *report.answer_first(ink)]
