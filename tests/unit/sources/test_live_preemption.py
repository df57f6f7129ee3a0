"""A burst that disagrees, on kernels that may preempt a task in a call from before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.events import Unmap
from swiotlb_top.probes.read.program import Mode
from swiotlb_top.records import RECORD, decode
from swiotlb_top.sources import live
from swiotlb_top.state import MemState
from tests.support.live_session import FakeSession, no_waiting

MINUTE_NS = 60_000_000_000

__all__ = ["no_waiting"]


class FindsFreed(FakeSession):
    """In each burst, one a minute, a mapping gets slots of which no record says that they were freed: by a call that is
    under way, or by a faulty kernel."""

    def __init__(self) -> None:
        super().__init__()
        release = next(at for at, event in enumerate(decode(self.records)) if isinstance(event, Unmap))
        self.every = self.records[: release * RECORD.size] + self.records[(release + 1) * RECORD.size :]

    def settle(self) -> tuple[MemState, bytes, bytes]:
        told = self.state, b"", self.every
        self.state = in_a_minute(self.state)
        self.every = b"".join(
            RECORD.pack(exit_ns + MINUTE_NS, *rest) for exit_ns, *rest in RECORD.iter_unpack(self.every)
        )
        return told


def in_a_minute(state: MemState) -> MemState:
    pools = (replace(pool, begin_ns=pool.begin_ns + MINUTE_NS, end_ns=pool.end_ns + MINUTE_NS) for pool in state.pools)
    return replace(state, pools=tuple(pools))


def bursts(session: FakeSession, monkeypatch: pytest.MonkeyPatch, number: int) -> list[Snapshot]:
    """What is shown after each of so many."""
    monkeypatch.setattr(live, "_SHARE_OF_TIME", 1e9)
    monkeypatch.setattr(live, "_SHARE_OF_CPU", 1e9)
    source = session.source()
    shown = []
    for at in range(number):
        session.program.counts = {1: DeviceTotals(maps=at + 1)}
        shown.append(source.snapshot())
    return shown


def test_a_kernel_that_does_not_preempt_is_blamed_in_the_first_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FindsFreed()
    (shown,) = bursts(session, monkeypatch, 1)
    assert shown.verdict is not None
    assert (shown.verdict.word, session.waits) == ("disagree", 0)
    assert session.program.modes == [Mode.RECORD, Mode.COUNT]


def test_one_that_preempts_is_blamed_once_calls_are_over_that_nobody_saw_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that were preempted in a call may be the reason in the first burst."""
    session = FindsFreed()
    session.preempts = True
    first, second = (shown.verdict for shown in bursts(session, monkeypatch, 2))
    assert first is not None
    assert second is not None
    assert (first.disagree, first.word) == (0, "inconclusive")
    assert first.inconclusive > 0
    assert (second.word, session.waits) == ("disagree", 1)
    assert session.program.modes == [Mode.RECORD, Mode.COUNT, Mode.NOTE, Mode.RECORD, Mode.COUNT]


def test_where_it_never_shows_that_they_are_over_nothing_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FindsFreed()
    session.preempts, session.tasks_leave = True, False
    verdicts = [shown.verdict for shown in bursts(session, monkeypatch, 3)]
    assert [verdict and verdict.word for verdict in verdicts] == ["inconclusive"] * 3


def test_a_kernel_that_preempts_and_agrees_is_never_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession()
    session.preempts = True
    shown = bursts(session, monkeypatch, 2)[-1]
    assert shown.verdict is not None
    assert (shown.verdict.word, session.waits) == ("agree", 0)
    assert Mode.NOTE not in session.program.modes
