"""The judge beside the flight recorder: tells of each disagreement once, of nothing else, and keeps to its share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.events import Unmap
from swiotlb_top.flight.beside import LATE_S, SHARE_OF_CPU, Beside, Both
from swiotlb_top.flight.triggers import Trigger
from swiotlb_top.records import decode
from swiotlb_top.reports.replay import replay
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.stream import End, Item, Known, Records
from swiotlb_top.trace import Sink, TraceReader
from swiotlb_top.trace.introductions import Introductions
from swiotlb_top.verify import Verdict
from tests.support.flight_session import SECOND_NS, STATIC, FlightSession, asking, flown, plan
from tests.support.packed import packed

TRACES = Path("tests/traces")
RECORDINGS = sorted([*TRACES.glob("*.swtrace"), *TRACES.glob("faulty/*.swtrace"), *TRACES.glob("doctored/*.swtrace")])
WRONG = sorted(TRACES.glob("faulty/*.swtrace"))
DISAGREEMENT = (Trigger("disagreement"),)


def tell(item: Item, sink: Sink, introductions: Introductions) -> None:
    """Pass an item on as the recorder does, which keeps the introductions up to date."""
    if isinstance(item, MemState):
        sink.state(item)
    elif isinstance(item, Records):
        introductions.records(item.data)
        sink.records(item.data)
    elif isinstance(item, DeviceName):
        introductions.name(item)
        sink.device_name(item)
    elif isinstance(item, Known):
        sink.known(item.before_ns)
    elif isinstance(item, End):
        sink.end(item.counters, item.duration_ns, item.lost)
    else:
        sink.gap(item)


def judged(path: Path, cpu_s: Callable[[], float] = lambda: 0.0) -> int:
    """How many disagreements are told of a recording, every call of which is told at a time of its own clock."""
    trace, introductions = TraceReader(path), Introductions()
    clock = [0]
    beside = Beside(trace.header.kernel, introductions, print, lambda: clock[0], cpu_s)
    told = 0
    for item in whole(trace.stream()):
        clock[0] += SECOND_NS // 5
        tell(item, beside, introductions)
        told += beside.take_disagreements()
    assert beside.take_disagreements() == 0
    return told


def whole(stream: Iterable[Item]) -> Iterable[Item]:
    """A stream as a recorder writes it now: after the records it says that none is missing.

    Recordings of before that was told end at a moment at which no call was under way.
    """
    last_ns = 0
    for item in stream:
        if isinstance(item, Records):
            last_ns = max(last_ns, item.last_ns)
        if isinstance(item, End) and last_ns:
            yield Known(last_ns + 1)
        yield item


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: str(path.relative_to(TRACES)))
def test_it_claims_nothing_that_replay_does_not(path: Path) -> None:
    """Beyond the end of a recording nothing is known, so that replay leaves some of its calls in doubt."""
    found = replay(path).findings
    told = judged(path)
    assert told <= found.disagree + found.inconclusive
    if found.verdict is not Verdict.DISAGREE:
        assert told == 0


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_it_tells_of_what_is_wrong(path: Path) -> None:
    assert judged(path) > 0


def test_of_more_calls_than_are_judged_at_once_the_first_are() -> None:
    trace, introductions = TraceReader(TRACES / "seed.swtrace"), Introductions()
    beside = Beside(trace.header.kernel, introductions, print, lambda: 0, lambda: 0.0)
    for item in whole(trace.stream()):
        tell(item, beside, introductions)
    findings = beside._pipeline.judge.findings
    assert 3000 < findings.agree == findings.compared < 4001


def test_what_it_spends_keeps_to_its_share() -> None:
    """Each piece costs a second, so that it may be judged only every twentieth second."""
    introductions, clock, spent = Introductions(), [0], [0.0]

    def cpu_s() -> float:
        spent[0] += 0.5
        return spent[0]

    session = FlightSession(setting=STATIC)
    beside = Beside(session.kernel, introductions, print, lambda: clock[0], cpu_s)
    seconds = 400
    for second in range(seconds):
        clock[0] = second * SECOND_NS
        state, _, later = session.settle()
        introductions.records(later)
        beside.state(state)
        beside.records(later)
        beside.known(session.now_ns())
    # One piece more than the share: it is not known what it costs before.
    assert 0 < spent[0] <= 2 * (SHARE_OF_CPU * seconds + 2)


def test_a_file_is_written_for_a_disagreement_and_has_it(tmp_path: Path) -> None:
    class Faulty(FlightSession):
        """Once, after some time, a kernel that releases more than was mapped."""

        is_right = True

        def _take(self) -> bytes:
            events = [*decode(super()._take())]
            for place, event in enumerate(events):
                if self.is_right and self._looks > 60 and isinstance(event, Unmap):
                    self.is_right = False
                    events[place] = event._replace(mapping_size_bytes=event.mapping_size_bytes + 4096)
            return packed(events)

    flight = flown(
        Faulty(looked=asking(stop=300)), plan(tmp_path, triggers=DISAGREEMENT, window_ns=int(LATE_S) * SECOND_NS)
    )
    (file,) = flight.files
    assert file.name.endswith("Z-disagreement.swtrace")
    assert replay(file, "6.10").findings.verdict is Verdict.DISAGREE
    assert flight.complaints == []


def test_a_kernel_without_a_fault_is_never_a_reason(tmp_path: Path) -> None:
    for seed in range(4):
        flight = flown(FlightSession(seed, looked=asking(stop=200)), plan(tmp_path, triggers=DISAGREEMENT))
        assert (flight.files, flight.complaints) == ([], [])


def test_after_lost_events_nothing_is_claimed(tmp_path: Path) -> None:
    session = FlightSession(losing=frozenset(range(20, 200, 7)), looked=asking(stop=220))
    flight = flown(session, plan(tmp_path, triggers=DISAGREEMENT))
    assert (flight.files, flight.complaints) == ([], [])


def test_of_a_kernel_that_is_like_none_that_is_known_it_says_once_that_nothing_will_be_claimed() -> None:
    introductions, complaints = Introductions(), list[str]()
    session = FlightSession()  # by what it shows it is one of another revision
    beside = Beside(session.kernel, introductions, complaints.append, session.now_ns, lambda: 0.0)
    for _ in range(60):
        session.sleep(1)
        state, _, later = session.settle()
        introductions.records(later)
        beside.state(state)
        beside.records(later)
        beside.known(session.now_ns())
    assert beside.take_disagreements() == 0
    (complaint,) = complaints
    assert complaint.startswith("no file is written for a disagreement any more: ")


def test_where_no_revision_is_known_it_is_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    class Elsewhere(FlightSession):
        @property
        def kernel(self) -> KernelInfo:
            return replace(super().kernel, machine="s390x")

    with pytest.raises(CannotError):
        flown(Elsewhere(looked=asking(stop=20)), plan(tmp_path, triggers=DISAGREEMENT))
    assert [*tmp_path.glob("*.swtrace*")] == []


def test_both_are_told_the_same() -> None:
    told: list[list[str]] = [[], []]

    class Noting:
        def __init__(self, into: list[str]) -> None:
            self._into = into

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_: self._into.append(name)

    both = Both(Noting(told[0]), Noting(told[1]))
    for item in TraceReader(TRACES / "stall.swtrace").stream():
        tell(item, both, Introductions())
    assert told[0] == told[1] != []
