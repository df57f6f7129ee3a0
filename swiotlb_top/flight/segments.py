"""The latest part of a stream, in memory: a recording that forgets its beginning.

A recording can be judged from a state on, and from nowhere else. So the stream is kept in segments, of which each
begins with a state, and what is forgotten is a whole segment: the first that is left is where the recording begins.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.events import Gap
from swiotlb_top.probes.read.program import Calls
from swiotlb_top.recorder import COUNTED
from swiotlb_top.records import tally
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import End
from swiotlb_top.trace import Header, TraceWriter
from swiotlb_top.trace.format import FRAME
from swiotlb_top.trace.introductions import Introductions

_LEAST_SEGMENTS: Final = 4
"""How many full segments fit the memory."""


class Segment:
    """A part of the stream: in memory, a recording that begins with a state and has no end.

    :param introductions: who the devices were at that time.
    """

    def __init__(self, header: Header, mem: MemState, introductions: Introductions) -> None:
        self._file = BytesIO()
        self.trace = TraceWriter(self._file, header)
        self._header_bytes = self._file.tell()
        self.trace.state(mem)
        self.state_bytes = self._file.tell() - self._header_bytes
        self.begin_ns, self.end_ns = mem.begin_ns, mem.end_ns
        """When reading its state began and ended."""
        self.settled = mem.settled
        self.calls: Counter[str] = Counter()
        """How many maps, failed maps and unmaps are in it."""
        self.lost = 0
        """How many events were lost in it."""
        self.introductions = introductions

    @property
    def size_bytes(self) -> int:
        return self._file.tell()

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Type and payload of each frame but the header. The state is the first."""
        with self._file.getbuffer() as data:
            at = self._header_bytes
            while at < len(data):
                frame_type, length, _ = FRAME.unpack_from(data, at)
                at += FRAME.size + length
                yield frame_type, bytes(data[at - length : at])


class Segments:
    """Keeps the latest segments of a stream, and is a :class:`.Sink` of it.

    :param header: that of the stream.
    :param limit_bytes: how much it may keep. If there is more, the oldest segment is forgotten.
    :param introductions: who the devices are, kept up to date by whoever writes the stream.
    """

    def __init__(self, header: Header, limit_bytes: int, introductions: Introductions) -> None:
        self._header = header
        self._limit_bytes = limit_bytes
        self._introductions = introductions
        self._kept: deque[Segment] = deque()
        self._forgotten: Counter[str] = Counter()
        """How many maps, failed maps and unmaps were in what is not kept."""
        self._forgotten_losses = 0
        self._failures = 0
        self._end: End | None = None

    # ---- what is kept ------------------------------------------------------

    @property
    def begin_ns(self) -> int | None:
        """When the first segment begins; None if there is none."""
        return self._kept[0].begin_ns if self._kept else None

    @property
    def size_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self._kept)

    def is_due(self, before_ns: int) -> bool:
        """Whether another segment should begin: the latest one began before a time, or it is full, or there is none."""
        if not self._kept:
            return True
        latest = self._kept[-1]
        is_full = latest.size_bytes - latest.state_bytes > self._limit_bytes // (2 * _LEAST_SEGMENTS)
        return is_full or latest.begin_ns < before_ns

    def forget_before(self, time_ns: int) -> None:
        """Forget segments that end before a time."""
        while len(self._kept) > 1 and self._kept[1].begin_ns <= time_ns:
            self._forget()

    def take_failures(self) -> int:
        """How many maps failed since the last call."""
        failures, self._failures = self._failures, 0
        return failures

    def _keep_to_the_limit(self) -> None:
        while self.size_bytes > self._limit_bytes:
            self._forget()

    def _forget(self) -> None:
        gone = self._kept.popleft()
        self._forgotten += gone.calls
        self._forgotten_losses += gone.lost

    # ---- the stream ----------------------------------------------------------

    def state(self, mem: MemState) -> None:
        """Begin a segment. :raises CannotError: one state takes too much of the room that there is."""
        segment = Segment(self._header, mem, self._introductions.copy())
        if segment.size_bytes > self._limit_bytes // (2 * _LEAST_SEGMENTS):
            least_mib = -(-segment.size_bytes * 2 * _LEAST_SEGMENTS >> 20)
            raise CannotError(
                f"a state of this kernel takes {segment.size_bytes:,} bytes, and --flight-size has no room for several",
                f"make it {least_mib}M or more",
            )
        self._kept.append(segment)
        self._keep_to_the_limit()

    def records(self, packed: bytes) -> None:
        """Add records to the latest segment. Those that come before the first state are only counted."""
        calls = tally(packed)
        self._failures += calls["map_failures"]
        if not self._kept:
            self._forgotten += calls
            return
        self._kept[-1].calls += calls
        self._kept[-1].trace.records(packed)
        self._keep_to_the_limit()

    def device_name(self, device_name: DeviceName) -> None:
        if self._kept:
            self._kept[-1].trace.device_name(device_name)

    def gap(self, gap: Gap) -> None:
        if self._kept:
            self._kept[-1].lost += gap.lost
            self._kept[-1].trace.gap(gap)
        else:
            self._forgotten_losses += gap.lost

    def known(self, before_ns: int) -> None:
        if self._kept:
            self._kept[-1].trace.known(before_ns)

    def end(self, counters: Mapping[str, int], duration_ns: int, lost: int) -> None:
        self._end = End(counters, duration_ns, lost)

    # ---- as a file -------------------------------------------------------------

    def write(self, path: Path, header: Header, counted: Calls) -> None:
        """Write what is kept as a recording, after :meth:`end`.

        :param path: a new file. It has its name once it is whole; otherwise nothing is left of it.
        :param counted: the calls that were counted before the stream began.
        :raises CannotError: nothing is kept, or the file cannot be written.
        """
        if not self._kept or self._end is None:
            raise CannotError("nothing is recorded: events are lost faster than the state can be read")
        with TraceWriter(path, header) as trace:
            try:
                self._write_to(trace)
                trace.end(*self._end_of(self._end, counted))
            except BaseException:
                trace.discard()
                raise

    def _write_to(self, trace: TraceWriter) -> None:
        first, frames = self._kept[0], (frame for segment in self._kept for frame in segment.frames())
        trace.frame(*next(frames))
        first.introductions.tell(trace, first.end_ns)
        for frame in frames:
            trace.frame(*frame)

    def _end_of(self, end: End, counted: Calls) -> tuple[Mapping[str, int], int, int]:
        """The counters, the duration and the losses of what is kept, where ``end`` has those of the whole stream."""
        before, first = self._forgotten + Counter(counted._asdict()), self._kept[0]
        counters = {name: value - before[name] for name, value in end.counters.items()}
        if self._forgotten_losses:
            for name in COUNTED:
                counters.pop(name, None)
        counters["quiet"] = int(bool(counters.get("quiet")) and first.settled)
        read_ns = self._kept[-1].begin_ns
        return counters, max(0, read_ns - first.begin_ns), end.lost - self._forgotten_losses
