"""A part of a recording as a recording of its own, which is judged as that part of the whole.

With the calls of some devices or pools only, it is not judged at all: see :mod:`.partial`.

It begins with a state, because nothing can be judged before one: the last one that was recorded before the moment that
was asked for. It ends at a moment at which no call was under way, if there is one in the second before the moment that
was asked for: a call that is missing might be why another was placed as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from swiotlb_top.errors import UnreadableError, UsageError
from swiotlb_top.events import Gap
from swiotlb_top.recording.clock import Clock, Moment
from swiotlb_top.recording.partial import Chosen, Partial
from swiotlb_top.records import DURATION_UNKNOWN, exits_ns, quiet_before, split_before
from swiotlb_top.state import DeviceName, MemState
from swiotlb_top.stream import Consumer, End, Item, Known, Records, tell
from swiotlb_top.trace import Header, TraceReader, TraceWriter
from swiotlb_top.trace.format import MAX_TIME_NS
from swiotlb_top.trace.introductions import Introductions
from swiotlb_top.trace.sink import Sink
from swiotlb_top.trace.survey import survey
from swiotlb_top.verify.operations.intervals import ASSUMED_DURATION_NS

_QUIET_WITHIN_NS: Final = 1_000_000_000
_MOST_LAST_CALLS_BYTES: Final = 16 << 20
"""262,144 calls in the second before the end: where there are more, no quiet moment is looked for."""
_BY_STATES: Final = ("nslabs", "total_used", "used_hiwater", "transient_nslabs", "quiet")
"""The counters of an end that are right wherever a recording begins. The others count from its beginning."""
_TO_ITS_END: Final = MAX_TIME_NS
_EVERYTHING: Final = Chosen()


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part lies in its recording. Times are on the recording's clock."""

    first_ns: int
    """When the recording begins."""
    asked_ns: int
    """The beginning that was asked for."""
    state_at: int
    """The number of the state with which it begins among the items of the stream."""
    state: MemState
    end_ns: int
    """The part has what was over before this time."""
    known_ns: int
    """Every call that was entered before this is in it, as far as the recording tells; -1: it does not tell."""
    to_its_end: bool
    """Whether nothing of the recording follows it."""
    last_at: int
    """The number of the last item of the stream that may hold anything of it."""
    kept: str = ""
    """How much of it was written, in words; empty: all."""

    def in_words(self) -> str:
        """From when to when it is, in words, and why; and how much of it was written."""
        return f"{self._when()}; {self.kept}" if self.kept else self._when()

    def _when(self) -> str:
        begin_s, asked_s = (self._seconds(time_ns) for time_ns in (self.state.begin_ns, self.asked_ns))
        end = "the end" if self.to_its_end else f"{self._seconds(self.end_ns)} s"
        if begin_s == asked_s:
            return f"{begin_s} s to {end}"
        which = "the first state" if self.state.begin_ns > self.asked_ns else f"the last state before {asked_s} s"
        return f"{begin_s} s, where {which} was recorded, to {end}"

    def _seconds(self, time_ns: int) -> str:
        return f"{(time_ns - self.first_ns) / 1e9:.3f}"


def cut(
    path: Path, output: Path, begin: Moment | None = None, end: Moment | None = None, chosen: Chosen = _EVERYTHING
) -> Part:
    """Write a part of a recording.

    :param output: a new file.
    :param begin: None: from its beginning.
    :param end: None: to its end.
    :param chosen: whose calls are written. Devices may also be called as people know them.
    :raises UnreadableError: it is no recording, or what is asked for cannot be read; nothing is written then.
    :raises UsageError: there is nothing between the two, or nothing of what was chosen.
    :raises CannotError: the file cannot be written; or no revision is known for its kernel, and something was chosen.
    """
    trace = TraceReader(path)
    try:
        part = _Search(trace, begin, end).part()
    except UnreadableError as error:
        raise UnreadableError(f"{error}; what precedes that can be had with an earlier --to") from None
    header = _header(trace.header, part)
    if chosen:
        chosen = replace(chosen, devices=_as_tables_call_them(chosen.devices, trace))
        header = replace(header, partial=True)
    with TraceWriter(output, header) as written:
        try:
            if not chosen:
                _write(trace, part, written)
                return part
            partial = Partial(written, header.kernel, chosen)
            _write(trace, part, partial)
            partial.check()
        except BaseException:
            written.discard()
            raise
    return replace(part, kept=partial.in_words())


def _as_tables_call_them(devices: frozenset[str], trace: TraceReader) -> frozenset[str]:
    known = survey(trace).names.values() if devices else ()
    return devices.union(device.name for device in known if device.known_as in devices)


def _header(header: Header, part: Part) -> Header:
    """Where no moment of the monotonic clock is told, the first state stands for it, which is a later one now."""
    if header.started_monotonic_ns:
        return header
    later_ns = header.started_realtime_ns + part.state.begin_ns - part.first_ns
    return replace(header, started_realtime_ns=min(max(later_ns, 0), MAX_TIME_NS))


class _Search:
    """Finds where a part begins and ends, reading no further than it must."""

    def __init__(self, trace: TraceReader, begin: Moment | None, end: Moment | None) -> None:
        self._trace = trace
        self._asked = begin, end
        self._first_ns = 0
        self._begin_ns = 0
        self._end_ns = _TO_ITS_END
        self._state: MemState | None = None
        self._state_at = 0
        self._latest_ns = 0
        self._known_ns = -1
        self._last_calls: list[bytes] = []
        """What was over less than a second before the end that was asked for, or later."""
        self._last_calls_bytes = 0

    def part(self) -> Part:
        """:raises UsageError: there is none."""
        to_its_end, at = True, 0
        for at, item in enumerate(self._trace.stream()):
            self._take(at, item)
            if self._known_ns >= self._end_ns or self._latest_ns > self._end_ns + DURATION_UNKNOWN:
                to_its_end = False  # all calls were read that were entered before the end
                break
        state = self._state
        if state is None:
            raise UsageError("the recording has no state, with which a part could begin")
        to_its_end = to_its_end and self._end_ns > self._latest_ns
        if self._begin_ns > max(self._latest_ns, state.begin_ns):
            length_s = (self._latest_ns - self._first_ns) / 1e9
            raise UsageError(f"nothing was recorded from --from on: the last call was over after {length_s:.3f} s")
        end_ns, known_ns = (_TO_ITS_END, -1) if to_its_end else self._end(state)
        return Part(self._first_ns, self._begin_ns, self._state_at, state, end_ns, known_ns, to_its_end, at)

    def _take(self, at: int, item: Item) -> None:
        if isinstance(item, MemState):
            self._begins(item.begin_ns)
            if self._state is None or item.begin_ns <= self._begin_ns:
                self._state, self._state_at = item, at
        elif isinstance(item, Records) and item.data:
            ended_ns = exits_ns(item.data)
            self._begins(ended_ns[0])
            self._latest_ns = max(self._latest_ns, *ended_ns)
            self._keep(split_before(item.data, self._end_ns - _QUIET_WITHIN_NS)[1])
        elif isinstance(item, Known):
            self._known_ns = max(self._known_ns, item.before_ns)

    def _keep(self, calls: bytes) -> None:
        self._last_calls_bytes += len(calls)
        if self._last_calls_bytes <= _MOST_LAST_CALLS_BYTES:
            self._last_calls.append(calls)

    def _begins(self, first_ns: int) -> None:
        """The first time in the recording, from which others are told."""
        if self._first_ns:
            return
        self._first_ns = self._begin_ns = first_ns
        clock = Clock.of(self._trace.header, first_ns)
        begin, end = self._asked
        if begin:
            self._begin_ns = max(first_ns, begin.time_ns(clock, first_ns))
        if end:
            self._end_ns = end.time_ns(clock, first_ns)
        if self._begin_ns >= self._end_ns:
            raise UsageError("--to is not after --from, or not after the recording's beginning")

    def _end(self, state: MemState) -> tuple[int, int]:
        """When the part ends, and up to when no call is missing in it."""
        if self._end_ns <= state.end_ns:
            raise UsageError("--to is not after the state with which the part would begin")
        if self._last_calls_bytes > _MOST_LAST_CALLS_BYTES:
            return self._end_ns, -1
        quiet_ns = quiet_before(b"".join(self._last_calls), self._end_ns, ASSUMED_DURATION_NS)
        is_quiet = quiet_ns > max(state.end_ns, self._end_ns - _QUIET_WITHIN_NS)
        return quiet_ns if is_quiet else self._end_ns, min(self._known_ns, quiet_ns)


def _write(trace: TraceReader, part: Part, written: Sink) -> None:
    introductions = Introductions()
    writer = _Writer(part, written)
    for at, item in enumerate(islice(trace.stream(), part.last_at + 1)):
        if at == part.state_at:
            written.state(part.state)
            introductions.tell(written, part.state.end_ns)
        elif at > part.state_at:
            writer.take(item)
        elif isinstance(item, DeviceName):
            introductions.name(item)
        elif isinstance(item, Records):
            writer.is_whole = False
            introductions.records(item.data)
    writer.finish()


class _Writer(Consumer):
    """Writes what follows the state, as far as it belongs to the part."""

    def __init__(self, part: Part, written: Sink) -> None:
        self._part = part
        self._written = written
        self._lost = 0
        self._ended: End | None = None
        self.is_whole = True
        """Whether no call precedes it in the recording."""

    def take(self, item: Item) -> None:
        """The next item."""
        if isinstance(item, Records):
            self._written.records(split_before(item.data, self._part.end_ns)[0])
        else:
            tell(item, self)

    def state(self, mem: MemState) -> None:
        if mem.end_ns < self._part.end_ns:
            self._written.state(mem)

    def gap(self, gap: Gap) -> None:
        if gap.begin_ns < self._part.end_ns:
            self._written.gap(gap)
            self._lost += gap.lost

    def name(self, name: DeviceName) -> None:
        self._written.device_name(name)

    def known_before(self, time_ns: int) -> None:
        if time_ns < self._part.end_ns:
            self._written.known(time_ns)

    def end(self, end: End) -> None:
        self._ended = end

    def finish(self) -> None:
        """Write the end."""
        part, ended = self._part, self._ended
        if part.known_ns >= 0:
            self._written.known(part.known_ns)
        if ended is None or not part.to_its_end:
            self._written.end({}, part.end_ns - part.state.begin_ns, self._lost)
        elif self.is_whole:
            self._written.end(ended.counters, ended.duration_ns, ended.lost)
        else:
            counters = {name: value for name, value in ended.counters.items() if name in _BY_STATES}
            counters["quiet"] = int(counters.get("quiet", 0) and part.state.settled)
            duration_ns = max(0, ended.duration_ns - (part.state.begin_ns - part.first_ns))
            self._written.end(counters, duration_ns, self._lost)
