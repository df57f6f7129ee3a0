"""What is wrong by all frames so far, noted in each frame for whoever shows it."""

from __future__ import annotations

from dataclasses import replace

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.findings.rules import findings
from swiotlb_top.findings.watched import Watched


class Noticing:
    """Watches the frames of one source, in their order."""

    def __init__(self) -> None:
        self._watched = Watched()

    def __call__(self, frame: Frame) -> Frame:
        """The same frame with what rules find in it and in those before it."""
        self._watched.add(frame)
        return replace(frame, findings=findings(self._watched), slopes=self._watched.slopes)
