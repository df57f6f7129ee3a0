"""The live source, with a kernel that does what it is told: one frame is one moment, or says of when it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import Level, headline
from swiotlb_top.accounting.snapshot import UNKNOWN, Snapshot
from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.allocator import Pool
from swiotlb_top.events import Device, Unmap
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.probes.read.program import Faults, Mode
from swiotlb_top.probes.session import Session
from swiotlb_top.records import RECORD, decode
from swiotlb_top.sources import live
from swiotlb_top.sources.live import LiveSource
from swiotlb_top.state import AreaState, DeviceName, KernelInfo, MemState, PoolState
from swiotlb_top.stream import Records, deliver
from swiotlb_top.trace import TraceReader
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, GROWING, STALL

UINT64 = (1 << 64) - 1
MINUTE_NS = 60_000_000_000


def of(path: Any) -> tuple[KernelInfo, MemState, bytes]:
    """The kernel, the first state and the first records of a recording."""
    trace = TraceReader(path)
    items = [*trace]
    state = next(item for item in items if isinstance(item, MemState))
    records = next(item for item in items if isinstance(item, Records))
    return trace.header.kernel, state, records.data


class FakePlan:
    """A plan by which everything is seen."""

    def notes(self) -> tuple[str, ...]:
        return ()

    def probed(self) -> Iterator[str]:
        yield "fentry+fexit swiotlb_find_slots"


@dataclass
class FakeProgram:
    """Counters that are set by hand."""

    counted: dict[int, DeviceTotals] = field(default_factory=dict)
    told: Faults = field(default_factory=Faults)
    modes: list[Mode] = field(default_factory=list)
    plan: FakePlan = field(default_factory=FakePlan)
    grown: int = 0
    closed: bool = False

    def totals(self) -> dict[int, DeviceTotals]:
        return self.counted

    def faults(self) -> Faults:
        return self.told

    def growths(self) -> int:
        return self.grown

    def set_mode(self, mode: Mode) -> None:
        self.modes.append(mode)

    def wait(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FakeSession:
    """A kernel whose state and records are those of a recording, or what a test makes of them."""

    def __init__(self, path: Any = STALL) -> None:
        self.kernel, self.state, self.records = of(path)
        self.program = FakeProgram()
        self.lost_in_bursts = 0
        self.known_ns = UINT64
        self.preempts = False
        self.tasks_leave = True
        self.waits = 0

    def sizes(self) -> MemState:
        return self.state

    def settle(self) -> tuple[MemState, bytes, bytes]:
        records, self.records = self.records, b""
        self.program.told = replace(
            self.program.told, lost_records=self.program.told.lost_records + self.lost_in_bursts
        )
        return self.state, b"", records

    def drain(self) -> bytes:
        return b""

    def drain_to_what_is_known(self) -> tuple[bytes, int]:
        return b"", self.known_ns

    def wait_for_older_calls(self, meanwhile: Callable[[], object]) -> None:
        assert self.program.modes[-1] is Mode.NOTE
        self.waits += 1

    def has_every_entry(self) -> bool:
        return not self.preempts or (self.tasks_leave and self.program.modes[-2:] == [Mode.NOTE, Mode.RECORD])

    def known_now_ns(self) -> int:
        return self.known_ns

    def device_name(self, dev: int) -> DeviceName:
        return DeviceName(dev, "0000:00:04.0", "virtio-pci")

    def device_names(self, records: bytes) -> Iterator[DeviceName]:
        return iter(())

    def source(self) -> LiveSource:
        return LiveSource(cast(Session, self))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_BURST_S", 0.0)


def in_use(state: MemState, used: list[int], total_used: int) -> MemState:
    """The state with so many slots in use in the first areas, and another total of the kernel's own."""

    def filled(pool: PoolState) -> PoolState:
        areas = tuple(replace(area, used=used[at % len(used)]) for at, area in enumerate(pool.areas))
        return replace(pool, areas=areas)

    return replace(state, pools=tuple(map(filled, state.pools)), total_used=total_used, transient_nslabs=-1)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.sampled_from([-1, 0, 128, 200, UINT64]))
def test_the_slots_in_use_are_the_sum_of_those_in_the_pools_whatever_the_kernel_counts(
    used: list[int], total_used: int
) -> None:
    session = FakeSession()
    session.records = b""
    session.state = in_use(session.state, used, total_used)
    shown = session.source().snapshot()
    assert shown.used_slots == sum(pool.used_slots for pool in shown.pools)


def test_so_are_all_slots_while_a_pool_is_on_the_list_and_not_yet_counted() -> None:
    session = FakeSession(GROWING)
    grown = replace(session.state.pools[0], address=1, start=1 << 32)
    session.state = replace(session.state, pools=(grown, *session.state.pools))
    shown = session.source().snapshot()
    assert shown.nslabs == sum(pool.nslabs for pool in shown.pools) == 2 * session.state.nslabs


def test_a_burst_is_judged_and_the_verdict_says_of_when_it_is() -> None:
    session = FakeSession()
    began_ns = session.state.begin_ns
    shown = session.source().snapshot()
    assert shown.verdict is not None
    assert (shown.verdict.word, shown.sampled, shown.sampled_ns) == ("agree", True, began_ns)
    assert shown.verdict.agree > 1_000
    assert {failure.reference for failure in shown.failures} == {"agrees"}
    assert session.program.modes == [Mode.RECORD, Mode.COUNT]


def test_a_burst_is_judged_up_to_the_oldest_call_that_is_under_way() -> None:
    """Its record is still to come, and may be of what the later ones found."""
    whole, session = FakeSession(), FakeSession()
    ends_ns = sorted(event.exit_ns for event in decode(session.records))
    session.known_ns = ends_ns[len(ends_ns) // 2]
    known, judged = session.source().snapshot().verdict, whole.source().snapshot().verdict
    assert known is not None
    assert judged is not None
    assert 0 < known.agree < judged.agree
    assert (known.word, known.disagree) == ("agree", 0)


def test_a_burst_goes_on_until_calls_from_before_it_have_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that stood still in the middle of one would leave nothing to judge."""
    session = FakeSession()
    looks_ns = iter([0, session.state.begin_ns, UINT64])
    monkeypatch.setattr(session, "known_now_ns", lambda: next(looks_ns))
    drained = []

    def drain() -> bytes:
        drained.append(1)
        return b""

    monkeypatch.setattr(session, "drain", drain)
    session.source().snapshot()
    assert len(drained) == 2, "once for each look that showed such a call"


def test_for_one_that_does_not_return_it_waits_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_PATIENCE_S", 0.05)
    session = FakeSession()
    session.known_ns = session.state.begin_ns
    shown = session.source().snapshot().verdict
    assert shown is not None
    assert (shown.compared, shown.inconclusive) == (0, 0)
    assert session.program.modes == [Mode.RECORD, Mode.COUNT]


def test_what_is_not_read_again_keeps_the_time_when_it_was_read() -> None:
    session = FakeSession()
    source = session.source()
    first = source.snapshot()
    session.state = in_use(session.state, [7], -1)
    later = source.snapshot()
    assert later.used_slots == 7
    assert later.sampled_ns == first.sampled_ns
    assert [pool.slots for pool in later.pools] == [pool.slots for pool in first.pools]
    assert later.time_ns > first.time_ns


def test_a_burst_that_lost_records_is_not_judged() -> None:
    session = FakeSession()
    session.lost_in_bursts = 3
    shown = session.source().snapshot()
    assert shown.verdict is not None
    assert (shown.verdict.compared, shown.verdict.disagree, shown.lost) == (0, 0, 3)
    assert shown.uncounted == 0, "the counters count what the ring loses"


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
        session.program.counted = {1: DeviceTotals(maps=at + 1)}
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


def test_calls_that_no_counter_saw_make_the_headline_unclear() -> None:
    session = FakeSession()
    session.records = b""
    session.program.told = Faults(uncounted_calls=2, lost_calls=1, missed_calls=4)
    source = session.source()
    frame = Frame.of(source.snapshot()).then(source.snapshot())
    assert frame.now.uncounted == 7
    assert headline(frame).level is Level.UNCLEAR


def test_it_says_for_how_long_it_has_watched() -> None:
    source = FakeSession().source()
    first, second = source.snapshot(), source.snapshot()
    assert 0 < first.watched_ns < second.watched_ns
    assert second.watched_ns - first.watched_ns == second.time_ns - first.time_ns


def test_closing_detaches_the_probes() -> None:
    session = FakeSession()
    session.source().close()
    assert session.program.closed


# ---- a burst is a small recording -------------------------------------------


class AfterItself(FakeSession):
    """A kernel whose records are all that happens, and that counted it."""

    def __init__(self, path: Path, nrecords: int) -> None:
        super().__init__(path)
        every = b"".join(item.data for item in TraceReader(path) if isinstance(item, Records))
        self.records = every[: nrecords * RECORD.size]
        self.replayed = Pipeline(self.kernel)
        deliver([*self.names(), self.state, Records(self.records)], self.replayed)
        self.before = self.replayed.snapshot(0, "", "")
        self.replayed.finish()
        account = self.replayed.account
        self.program.grown = account.growths
        self.program.counted = {
            dev: replace(totals, since_ns=1, held_slots=UNKNOWN) for dev, totals in account.totals().devices.items()
        }

    def names(self) -> Iterator[DeviceName]:
        devices = {event.dev for event in decode(self.records) if isinstance(event, Device)}
        return map(self.device_name, sorted(devices))

    def sizes(self) -> MemState:
        """The pools as the reference has them, after it followed the records."""
        world, account = self.replayed.judge.model, self.replayed.account
        assert world is not None
        return replace(
            self.state,
            pools=tuple(sizes_of(pool) for pool in world.pools if not pool.transient),
            total_used=account.used_slots,
            used_hiwater=account.used_hiwater_slots,
            transient_nslabs=account.transient_slots,
        )


def sizes_of(pool: Pool) -> PoolState:
    areas = tuple(AreaState(used, 0) for used in pool.area_used)
    size = (pool.address, pool.start, pool.nslabs, pool.nareas, pool.area_nslabs)
    return PoolState(*size, pool.transient, 0, 0, areas, (), (), (), ())


def without_what_only_one_of_them_knows(shown: Snapshot) -> Snapshot:
    """Live there are no transient pools and no age of those that were there, and slots are those before the burst."""
    listed = (pool for pool in shown.pools if not pool.transient)
    return replace(
        shown,
        time_ns=0,
        source="",
        reason="",
        sampled=False,
        sampled_ns=UNKNOWN,
        watched_ns=0,
        pools=tuple(replace(pool, since_ns=UNKNOWN, slots=None, longest_free_slots=UNKNOWN) for pool in listed),
        devices=tuple(replace(device, held_slots=UNKNOWN) for device in shown.devices),
    )


@pytest.mark.parametrize("path", [STALL, GROWING, FOUR_AREAS, FOUR_CPUS], ids=lambda path: path.stem)
def test_live_and_replay_of_the_same_burst_show_the_same(path: Path) -> None:
    session = AfterItself(path, 1500)
    live_one, replayed = session.source().snapshot(), session.replayed.snapshot(0, "", "")
    assert (replayed.maps > 300, replayed.verdict and replayed.verdict.word) == (True, "agree")
    assert without_what_only_one_of_them_knows(live_one) == without_what_only_one_of_them_knows(replayed)


@pytest.mark.parametrize("path", [STALL, GROWING, FOUR_AREAS, FOUR_CPUS], ids=lambda path: path.stem)
def test_the_slots_shown_live_are_those_a_burst_begins_from(path: Path) -> None:
    session = AfterItself(path, 0)
    shown = [pool.slots for pool in session.source().snapshot().pools]
    assert shown == [pool.slots for pool in session.before.pools] != []
