"""A session with the kernel that answers from a recording, for tests of the live source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from swiotlb_top.accounting.snapshot import ProgramCost
from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.kernel.around import Around, of_recording
from swiotlb_top.probes.read.askers import Asked
from swiotlb_top.probes.read.holdings import Holdings
from swiotlb_top.probes.read.program import Calls, Faults, Mode, calls_of
from swiotlb_top.probes.session import Session
from swiotlb_top.sources import live
from swiotlb_top.sources.live import LiveSource
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.stream import Records
from swiotlb_top.trace import TraceReader
from tests.support.doctoring import STALL

UINT64 = (1 << 64) - 1


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

    counts: dict[int, DeviceTotals] = field(default_factory=dict)
    departed: Calls = field(default_factory=Calls)
    told: Faults = field(default_factory=Faults)
    modes: list[Mode] = field(default_factory=list)
    plan: FakePlan = field(default_factory=FakePlan)
    grown: int = 0
    cost: tuple[ProgramCost, ...] = ()
    closed: bool = False
    holdings: Holdings | None = None
    most_slots: int = -1
    syncs_tell: list[bool] = field(default_factory=list)
    asked: dict[int, list[Asked]] = field(default_factory=dict)

    def totals(self) -> dict[int, DeviceTotals]:
        return self.counts

    def counted(self) -> tuple[dict[int, DeviceTotals], Calls]:
        return self.counts, calls_of(self.counts.values(), self.departed)

    def faults(self) -> Faults:
        return self.told

    def costs(self) -> tuple[ProgramCost, ...]:
        return self.cost

    def growths(self) -> int:
        return self.grown

    def most_of_all_slots(self) -> int:
        return self.most_slots

    def askers(self) -> dict[int, list[Asked]]:
        return self.asked

    def let_syncs_tell(self) -> None:
        self.syncs_tell.append(True)

    def let_syncs_be(self) -> None:
        self.syncs_tell.append(False)

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

    def set_mode(self, mode: Mode) -> None:
        self.program.set_mode(mode)

    def slots(self) -> MemState:
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

    def around(self, who: DeviceName) -> Around:
        return of_recording(self.kernel.machine, self.kernel.features)

    def device_names(self, records: bytes) -> Iterator[DeviceName]:
        return iter(())

    def source(self) -> LiveSource:
        return LiveSource(cast(Session, self))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_BURST_S", 0.0)
