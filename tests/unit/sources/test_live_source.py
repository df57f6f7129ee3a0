"""The live source, with a kernel that does what it is told: one frame is one moment, or says of when it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import Level, headline
from swiotlb_top.accounting.in_use import SINCE_ATTACHING
from swiotlb_top.accounting.onlooker import Scenes
from swiotlb_top.accounting.snapshot import UNKNOWN, Earlier, ProgramCost, Snapshot
from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.allocator import Pool
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE
from swiotlb_top.constants import IO_TLB_SIZE
from swiotlb_top.errors import CannotError
from swiotlb_top.events import Device
from swiotlb_top.pipeline import Pipeline
from swiotlb_top.probes.read.holdings import Holdings, Says
from swiotlb_top.probes.read.program import Faults, Mode
from swiotlb_top.records import RECORD, decode
from swiotlb_top.sources import counted, live
from swiotlb_top.state import AreaState, DeviceName, MemState, PoolState
from swiotlb_top.stream import Records, deliver
from swiotlb_top.trace import TraceReader
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, GROWING, STALL
from tests.support.live_session import UINT64, FakeSession, no_waiting

__all__ = ["no_waiting"]


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
        self.replayed.judge.listen(Scenes)
        deliver([*self.names(), self.state, Records(self.records)], self.replayed)
        self.before = self.replayed.snapshot(0, "", "")
        self.replayed.finish()
        account = self.replayed.account
        self.program.grown = account.growths
        self.program.counts = {
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


ONLY_IN_RECORDINGS: dict[str, Any] = {
    "held_slots": UNKNOWN,
    "hold_p50_ns": UNKNOWN,
    "hold_p99_ns": UNKNOWN,
    "hold_max_ns": UNKNOWN,
    "holds": (),
    "oldest_ns": UNKNOWN,
    "starved": None,
}


def without_what_only_one_of_them_knows(shown: Snapshot) -> Snapshot:
    """Live there are no transient pools and no age of those that were there, and slots are those before the burst.

    Nor is it known whose slots are, and for how long mappings are held.
    """
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
        devices=tuple(replace(device, **ONLY_IN_RECORDINGS) for device in shown.devices),
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


def test_what_watching_costs_is_in_each_snapshot() -> None:
    session = FakeSession()
    session.program.cost = (ProgramCost("kfunc__swiotlb_map", 5_000, 7),)
    assert session.source().snapshot().programs == session.program.cost


# ---- mappings from before ------------------------------------------------------------

FIRST, CARD = 0x7BF0_0000, 0xFFFF_8880_0456_7000


class Watching:
    """A kernel in which a card holds 16 slots since before the probes came."""

    def __init__(self) -> None:
        self.session = FakeSession()
        self.session.records = b""
        (pool,) = self.session.state.pools
        list_ = (*(0,) * 16, *pool.list_[16:])
        sizes = tuple((16 - slot) * IO_TLB_SIZE for slot in range(16))
        held = replace(pool, start=FIRST, list_=list_, alloc_size=(*sizes, *pool.alloc_size[16:]))
        self.session.state = in_use(replace(self.session.state, pools=(held,)), [16], -1)
        self.cells = memoryview(bytearray(8 << 13)).cast("Q")
        holders = memoryview(bytearray(64 * 513))
        holders[64:72] = CARD.to_bytes(8, "little")
        self.session.program.holdings = Holdings(self.cells, holders.cast("q"))
        self.source = self.session.source()

    def say(self, says: Says) -> None:
        number = FIRST // IO_TLB_SIZE
        self.cells[number % len(self.cells)] = number << 24 | says << 10 | 1


def test_syncs_are_probed_while_it_is_not_known_who_holds_what_was_there() -> None:
    watching = Watching()
    shown = watching.source.snapshot()
    assert (shown.used_slots, shown.unowned_slots, shown.devices) == (16, 16, ())
    assert watching.session.program.syncs_tell == [True]
    watching.say(Says.SYNCED)
    shown = watching.source.snapshot()
    assert watching.session.program.syncs_tell == [True, False]
    (card,) = shown.devices
    assert (card.dev, card.earlier, card.all_held_slots, shown.unowned_slots) == (CARD, Earlier(1, 16, 0), 16, 0)


def test_a_mapping_is_shown_with_the_device_that_has_shown_to_hold_it() -> None:
    watching = Watching()
    watching.say(Says.SYNCED)
    slots = watching.source.snapshot().pools[0].slots
    assert slots
    assert slots.mappings
    assert [(mapping.slot, mapping.nslots, mapping.dev) for mapping in slots.mappings] == [(0, 16, CARD)]


def test_one_that_nobody_has_shown_to_hold_is_nobody_s() -> None:
    slots = Watching().source.snapshot().pools[0].slots
    assert slots
    assert slots.mappings
    assert [mapping.dev for mapping in slots.mappings] == [UNKNOWN_DEVICE]


def test_they_are_not_probed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "PATIENCE_NS", 0)
    watching = Watching()
    assert watching.source.snapshot().unowned_slots == 16
    assert watching.session.program.syncs_tell == [True, False]


def test_nor_where_nothing_was_there() -> None:
    session = FakeSession()
    cells, holders = memoryview(bytearray(8 << 13)), memoryview(bytearray(64 * 513))
    session.program.holdings = Holdings(cells.cast("Q"), holders.cast("q"))
    session.source().snapshot()
    assert session.program.syncs_tell == []


def test_a_device_that_released_what_it_held_before_is_still_the_same_device() -> None:
    watching = Watching()
    watching.say(Says.SYNCED)
    watching.source.snapshot()
    watching.say(Says.RELEASED)
    totals = DeviceTotals(unmaps=1, held_slots=0, most_slots=0, since_ns=7)
    watching.session.program.counts = {CARD: totals}
    watching.session.state = in_use(watching.session.state, [0], -1)
    (card,) = watching.source.snapshot().devices
    assert (card.held_maps, card.all_held_maps, card.all_held_slots) == (0, 0, 0)
    assert card.earlier.unmaps == 1


def test_where_the_kernel_keeps_no_high_water_that_of_the_probes_is_shown() -> None:
    watching = Watching()
    watching.session.program.most_slots = 100
    shown = watching.source.snapshot()
    assert (shown.used_hiwater_slots, shown.hiwater_is_own) == (116, True)
    assert SINCE_ATTACHING in shown.notes


def test_where_the_source_cannot_begin_the_probes_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Watching().session

    def gone() -> MemState:
        raise CannotError("a pool went away while it was read")

    monkeypatch.setattr(session, "slots", gone)
    monkeypatch.setattr(live, "Session", lambda **how: session)
    with pytest.raises(CannotError, match="went away"):
        live.open_live()
    assert session.program.closed
