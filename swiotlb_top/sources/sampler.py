"""Asking a source once an interval: in line for reports, in a thread for what must stay responsive."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import SwiotlbTopError, UnreadableError
from swiotlb_top.sources import Player, PlayOrder, Source

JOIN_S: Final = 2.0
"""How long the end waits for a snapshot under way."""
PATIENCE_S: Final = 5.0
"""How much later than its time a snapshot may come; after that, the frame says that there is no answer."""


def frames(source: Source, interval_s: float, count: int | None) -> Iterator[Frame]:
    """Give ``count`` frames (None: for ever), each with the rates of the ``interval_s`` before it.

    With ``interval_s`` 0 nothing waits and the first frame has no rates. A recording's frames are ``interval_s`` of it
    apart, times its speed; nothing waits for them, and they end with it.

    :raises UnreadableError: the recording goes on, and cannot be read.
    """
    last = None
    if interval_s > 0 or isinstance(source, Player):
        last = Frame.of(source.snapshot())
        if isinstance(source, Player) and last.now.playback:
            yield from _played(source, last, interval_s, count)
            return
    due_s = time.monotonic()
    given = 0
    while count is None or given < count:
        due_s += interval_s
        time.sleep(max(0.0, due_s - time.monotonic()))
        # After a long stop (SIGSTOP, suspend) do not catch up with a burst of empty intervals.
        due_s = max(due_s, time.monotonic() - interval_s)
        now = source.snapshot()
        last = last.then(now) if last else Frame(now, sequence=1)
        given += 1
        yield last


def _played(source: Player, frame: Frame, interval_s: float, count: int | None) -> Iterator[Frame]:
    """Frames of a recording, up to its end: nobody waits for what is past, unless it is played over and over."""
    given = 0
    while count is None or given < count:
        playback = frame.now.playback
        if given and playback and playback.is_over and not playback.loops:
            if playback.damage:
                raise UnreadableError(playback.damage)
            return
        if playback and playback.loops:
            time.sleep(interval_s)
        source.play(PlayOrder(passed_ns=int(interval_s * 1e9)))
        frame = frame.then(source.snapshot())
        given += 1
        yield frame


class Sampler:
    """Asks ``source`` in a thread and publishes each frame by swapping one reference: readers take no lock.

    Frame 0, without rates, is there from the start. A source that fails later is shown in
    :attr:`Frame.failure` and asked again, one that does not answer is shown there too; any other
    exception is a bug and is raised to the reader.

    :param follow: makes the next frame of the last one and a new snapshot; :meth:`Frame.then` keeps what charts and
        the log need.
    :param notice: gives each frame, the first one too, what is to be noted in it.
    """

    def __init__(
        self,
        source: Source,
        interval_s: float,
        patience_s: float = PATIENCE_S,
        follow: Callable[[Frame, Snapshot], Frame] = Frame.then,
        notice: Callable[[Frame], Frame] = lambda frame: frame,
    ) -> None:
        self._source = source
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._follow = follow
        self._notice = notice
        self._orders: queue.SimpleQueue[PlayOrder | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._bug: Exception | None = None
        self._frame = notice(Frame.of(source.snapshot()))
        self._published_s = self._passed_s = time.monotonic()

    @property
    def frame(self) -> Frame:
        if self._bug is not None:
            raise self._bug
        late_s = time.monotonic() - self._published_s - self._interval_s
        if late_s > self._patience_s:
            return replace(self._frame, failure=f"no answer for {late_s + self._interval_s:.0f} s")
        return self._frame

    def play(self, order: PlayOrder) -> None:
        """Hand an order to a source that plays a recording; it is obeyed at once, in the sampler's thread."""
        self._orders.put(order)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._orders.put(None)
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        try:
            while self._obey_until(time.monotonic() + self._interval_s):
                self._frame = self._next(self._frame)
                self._published_s = time.monotonic()
        except Exception as bug:
            self._bug = bug

    def _obey_until(self, due_s: float) -> bool:
        """Wait until the next sample is due, or an order changes what is shown. False: the sampler shall end."""
        obeyed = False
        while True:
            try:
                order = self._orders.get(timeout=0 if obeyed else max(0.0, due_s - time.monotonic()))
            except queue.Empty:
                self._pass_time()
                return True
            if order is None:
                return False
            self._pass_time()
            if isinstance(self._source, Player):
                self._source.play(order)
            obeyed = True

    def _pass_time(self) -> None:
        """Tell a recording how much time has passed since it was told last."""
        now_s = time.monotonic()
        if isinstance(self._source, Player) and self._frame.now.playback:
            self._source.play(PlayOrder(passed_ns=int((now_s - self._passed_s) * 1e9)))
        self._passed_s = now_s

    def _next(self, last: Frame) -> Frame:
        try:
            return self._notice(self._follow(last, self._source.snapshot()))
        except (SwiotlbTopError, OSError) as error:
            return replace(last, sequence=last.sequence + 1, failure=str(error))
