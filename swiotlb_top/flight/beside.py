"""The judge beside a flight recorder: judges what is recorded, as far as a small share of one CPU goes.

Where little happens every call is judged. Where more happens than the share allows, the judge stops and begins again
with a later state, as it does between the bursts of the live source; what is between is in the recording all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from swiotlb_top.events import Gap
from swiotlb_top.pipeline import Uncounted
from swiotlb_top.probes.session import now_ns
from swiotlb_top.records import count
from swiotlb_top.sources.burst import cut
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.stream import Item, Records, deliver
from swiotlb_top.trace import Sink
from swiotlb_top.trace.introductions import Introductions
from swiotlb_top.verify import Verdict

SHARE_OF_CPU: Final = 0.05
"""At most this share of one CPU is spent on judging, over some time."""
LATE_S: Final = 10.0
"""A disagreement is known for good some seconds after the call. A file that is to have it reaches back this far."""
_MOST_EVENTS: Final = 4000
"""So many events are judged at once at most; until they are, nothing is taken out of the ring."""
_MOST_WAITING: Final = 1 << 18
"""So many events may wait until it is known that none is missing among them; they take 64 bytes each."""
_LEAST_NS: Final = 20_000_000
"""Of a state that more events follow than are judged: so much time after its copy is judged at least."""


class Beside:
    """A judge of part of a stream. It is a :class:`.Sink`, and keeps nothing but what it has not judged yet.

    :param introductions: who the devices are, kept up to date by whoever writes the stream.
    :param complain: is told once if the kernel turns out to be unknown, so that no disagreement is ever claimed.
    :param cpu_s: the CPU time of this thread.
    :raises CannotError: no revision is known for this kernel, or the reference does not model this machine.
    """

    def __init__(
        self,
        kernel: KernelInfo,
        introductions: Introductions,
        complain: Callable[[str], object],
        clock_ns: Callable[[], int] = now_ns,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._kernel = kernel
        self._introductions = introductions
        self._complain = complain
        self._has_complained = False
        self._clock_ns, self._cpu_s = clock_ns, cpu_s
        self._pipeline = Uncounted(kernel)
        self._follows = False
        """Whether it receives the stream; else it waits for a state to begin from."""
        self._begins_from: MemState | None = None
        """The state that it begins from, until what follows is judged."""
        self._waiting: list[Item] = []
        self._events_waiting = 0
        self._known_ns = 0
        """Up to when everything was fed to the judge."""
        self._rests_until_ns = 0
        """When what was spent is within the share again."""
        self._taken = 0

    def take_disagreements(self) -> int:
        """How many disagreements have become known for good since the last call."""
        known = self._pipeline.judge.findings.disagree
        new, self._taken = max(0, known - self._taken), known
        return new

    # ---- the stream ----------------------------------------------------------

    def state(self, mem: MemState) -> None:
        if self._follows:
            self._waiting.append(mem)
        elif self._clock_ns() >= self._rests_until_ns:
            self._begin_from(mem)

    def records(self, packed: bytes) -> None:
        if not self._follows:
            return
        self._waiting.append(Records(packed))
        self._events_waiting += count(packed)
        if self._events_waiting > _MOST_WAITING:
            self._stop()

    def device_name(self, device_name: DeviceName) -> None:
        """Names are nothing to judge."""

    def gap(self, gap: Gap) -> None:
        """Events were lost: what is known to be complete is judged, and the next state is one to begin from."""
        self._stop()

    def known(self, before_ns: int) -> None:
        """Judge what is waiting, now that nothing is missing among what was over before a time."""
        if not self._follows:
            return
        began_s = self._cpu_s()
        may_go_on = self._judge(before_ns)
        now = self._clock_ns()
        in_debt = now < self._rests_until_ns
        self._rests_until_ns = max(now, self._rests_until_ns) + int((self._cpu_s() - began_s) / SHARE_OF_CPU * 1e9)
        if in_debt or not may_go_on:
            self._stop()
        if not self._pipeline.judge.left and not self._has_complained:
            self._has_complained = True
            self._complain(f"no file is written for a disagreement any more: {self._pipeline.judge.note}")

    def end(self, counters: Mapping[str, int], duration_ns: int, lost: int) -> None:
        self._stop()

    # ---- judging ---------------------------------------------------------------

    def _begin_from(self, mem: MemState) -> None:
        """Follow the stream from a state on. After a disagreement the judge is a new one, which may find another."""
        judge = self._pipeline.judge
        if judge.findings.verdict is Verdict.DISAGREE:
            self._pipeline, self._taken = Uncounted(self._kernel), 0
        self._follows, self._begins_from, self._known_ns = True, mem, 0
        self._waiting = [Gap(0, mem.begin_ns, 0, "not judged"), mem]
        self._introductions.tell(self, mem.end_ns)

    def _judge(self, before_ns: int) -> bool:
        """Judge what is waiting, or the beginning of it. Returns whether the rest of the stream can be judged, too."""
        if not before_ns:
            return False
        state = self._begins_from
        if self._events_waiting > _MOST_EVENTS:
            if state is not None:
                self._judge_beginning(state, before_ns)
            return False
        self._feed(self._waiting)
        self._begins_from, self._known_ns = None, before_ns
        self._pipeline.known_before(before_ns)
        self._pipeline.advance(before_ns)
        return True

    def _judge_beginning(self, state: MemState, before_ns: int) -> None:
        """Judge the first of the calls after a state."""
        packed = b"".join(item.data for item in self._waiting if isinstance(item, Records))
        copied_ns = max((pool.end_ns for pool in state.pools), default=state.begin_ns)
        first, self._known_ns = cut(packed, copied_ns, before_ns, _MOST_EVENTS, _LEAST_NS)
        self._feed([Gap(0, state.begin_ns, 0, "not judged"), state, Records(first)])

    def _feed(self, items: list[Item]) -> None:
        self._waiting, self._events_waiting = [], 0
        deliver(items, self._pipeline)

    def _stop(self) -> None:
        """Judge what was fed and is complete, and wait for a state to begin from."""
        if not self._follows:
            return
        self._follows, self._waiting, self._events_waiting = False, [], 0
        self._pipeline.finish(self._known_ns, whole=bool(self._known_ns))


class Both:
    """Passes a stream on to two sinks."""

    def __init__(self, first: Sink, second: Sink) -> None:
        self._sinks = first, second

    def state(self, mem: MemState) -> None:
        for sink in self._sinks:
            sink.state(mem)

    def records(self, packed: bytes) -> None:
        for sink in self._sinks:
            sink.records(packed)

    def device_name(self, device_name: DeviceName) -> None:
        for sink in self._sinks:
            sink.device_name(device_name)

    def gap(self, gap: Gap) -> None:
        for sink in self._sinks:
            sink.gap(gap)

    def known(self, before_ns: int) -> None:
        for sink in self._sinks:
            sink.known(before_ns)

    def end(self, counters: Mapping[str, int], duration_ns: int, lost: int) -> None:
        for sink in self._sinks:
            sink.end(counters, duration_ns, lost)
