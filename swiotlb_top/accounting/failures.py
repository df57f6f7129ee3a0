"""The latest mappings that the kernel refused, each with what the reference says of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Final

from swiotlb_top.accounting.scene import Key, Scene, key_of
from swiotlb_top.accounting.snapshot import Answer, FailureView
from swiotlb_top.allocator import Explanation
from swiotlb_top.events import Call, Event, Find, failed_map

KEPT: Final = 500
_AHEAD: Final = 8192
"""How many explanations are kept until their event comes: the judge may be ahead of the account."""

QUIET_NS: Final = 60_000_000_000
"""If no map of a device failed for this long, its next failure begins a new series."""
_BEGUN: Final = 200
"""How many first failures of a series are kept."""


class FailureLog:
    """The last few hundred failed maps of a stream."""

    def __init__(self) -> None:
        self._latest: deque[Call] = deque(maxlen=KEPT)
        self._retired: dict[Key, tuple[str, str]] = {}
        self._explained: dict[Key, Explanation] = {}
        self._failed_ns: dict[int, int] = {}
        self._begun: deque[Call] = deque(maxlen=_BEGUN)
        self._begun_why: dict[Key, Explanation | None] = {}

    def happened(self, call: Call) -> None:
        """A map failed."""
        self._latest.appendleft(call)
        failed_ns = self._failed_ns.get(call.dev)
        if failed_ns is None or call.exit_ns - failed_ns > QUIET_NS:
            if len(self._begun) == _BEGUN:
                self._begun_why.pop(key_of(self._begun[0]), None)
            self._begun.append(call)
            self._begun_why[key_of(call)] = self._explained.get(key_of(call))
        self._failed_ns[call.dev] = call.exit_ns

    def explained(self, event: Event, explanation: Explanation) -> None:
        """The reference fails this map, too, and explains why. The event may come before or after this."""
        if (call := failed_map(event)) is not None:
            self._explained[key_of(call)] = explanation
            if len(self._explained) > _AHEAD:
                del self._explained[next(iter(self._explained))]
            if key_of(call) in self._begun_why:
                self._begun_why[key_of(call)] = explanation

    def retire(self, dev: int, who: tuple[str, str]) -> None:
        """From now on another device is at this address. Earlier failures keep ``who``: name and driver."""
        calls = (*self._latest, *self._begun)
        failed = {key_of(call) for call in calls if call.dev == dev}
        kept = {key_of(call): self._retired.get(key_of(call)) for call in calls}
        self._failed_ns.pop(dev, None)
        self._retired = {key: was or who for key, was in kept.items() if was or key in failed}

    def views(
        self, who: Callable[[int], tuple[str, str]], scenes: Mapping[Key, Scene], disputed: Event | None = None
    ) -> tuple[FailureView, ...]:
        """The failed maps, newest first; equal ones in a row are merged into one.

        :param who: gives name and driver of a ``struct device *``.
        :param scenes: how it stood at some of them.
        :param disputed: the first event on which kernel and reference disagree.
        """
        why = self._explained.get
        views = (self._view(call, self._who(call, who), why(key_of(call)), disputed) for call in self._latest)
        rows = ([*row] for _, row in groupby(zip(views, self._latest, strict=True), key=lambda pair: _alike(pair[0])))
        looked_at = [(key, scene) for key, scene in scenes.items() if key not in self._retired]
        return tuple(
            replace(view, times=len(row), scene=_scene(view, why(key_of(call)), looked_at))
            for row in rows
            for view, call in row[:1]
        )

    def begun(self, who: Callable[[int], tuple[str, str]]) -> tuple[FailureView, ...]:
        """The failures with which a device began to fail, the latest last."""
        why = self._begun_why.get
        return tuple(self._view(call, self._who(call, who), why(key_of(call)), None) for call in self._begun)

    def _who(self, call: Call, who: Callable[[int], tuple[str, str]]) -> tuple[str, str]:
        return self._retired.get(key_of(call)) or who(call.dev)

    def _view(self, call: Call, who: tuple[str, str], why: Explanation | None, disputed: Event | None) -> FailureView:
        size_bytes = call.alloc_size_bytes if isinstance(call, Find) else call.mapping_size_bytes
        reference: Answer = "agrees" if why else "disagrees" if call == disputed else "not asked"
        cause, sentence = (why.cause, why.sentence) if why else (None, "")
        return FailureView(call.exit_ns, call.dev, *who, size_bytes, call.cpu, cause, sentence, reference)


def _scene(view: FailureView, why: Explanation | None, looked_at: list[tuple[Key, Scene]]) -> Scene | None:
    """How it stood at this failure, or at the latest before it of this device that failed for the same reason."""
    if why is None:
        return None
    found = (
        scene
        for (time_ns, _, dev), scene in reversed(looked_at)
        if dev == view.dev and time_ns <= view.time_ns and scene.explanation[:2] == why[:2]
        if scene.explanation.needed_slots == why.needed_slots
    )
    return next(found, None)


def _alike(view: FailureView) -> tuple[object, ...]:
    # Not the sentence: it says how many slots were free, which differs each time.
    return view.dev, view.device, view.size_bytes, view.cause, view.reference
