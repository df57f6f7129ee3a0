"""A kernel without a fault for the flight recorder to watch, and what is told of each thing that it writes."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from swiotlb_top.flight import beside, hosted
from swiotlb_top.flight import recorder as flight_recorder
from swiotlb_top.flight.recorder import Plan, fly
from swiotlb_top.flight.triggers import Trigger
from swiotlb_top.pipeline import Uncounted
from swiotlb_top.state import MemState
from swiotlb_top.stream import Item
from swiotlb_top.trace import TraceReader
from swiotlb_top.trace.partial_file import PartialFile
from tests.support.histories import machine, state_of
from tests.support.sound_kernel_settings import Setting
from tests.support.sound_session import REALTIME_NS, SETTING, SoundSession, recorded_from

GROWING: Final = SETTING._replace(late=True)
"""Its calls go on while its states are read, and it has transient pools."""
STATIC: Final = SETTING._replace(dynamic=False, late=False)
"""It has no transient pools, of whose mappings no state tells, and no call goes on while its state is read: all that it
does can be judged."""
SECOND_NS: Final = 1_000_000_000


class FlightSession(SoundSession):
    """The kernel, and when its state was read first."""

    def __init__(
        self,
        seed: int = 0,
        setting: Setting = STATIC,
        *,
        losing: frozenset[int] = frozenset(),
        looked: Callable[[int], object] = lambda _: None,
    ) -> None:
        super().__init__(seed, setting, losing=losing, looked=looked)
        self.states_ns: list[int] = []
        """When each state was read."""

    def settle(self) -> tuple[MemState, bytes, bytes]:
        settled = super().settle()
        self.states_ns.append(settled[0].begin_ns)
        return settled

    def sizes(self) -> MemState:
        swiotlb = self._of.swiotlb
        return machine(*map(state_of, swiotlb.pools), transient_nslabs=swiotlb.transient_nslabs)


@dataclass
class Flown:
    """What came of a flight."""

    directory: Path
    said: list[str] = field(default_factory=list)
    """A line a file, after the one that it begins with."""
    complaints: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.glob("*.swtrace*"))

    def items(self, file: int = 0) -> list[Item]:
        """What is in a file. :raises UnreadableError: it is not whole."""
        return [*TraceReader(self.files[file]).stream()]


def plan(directory: Path, **changed: Any) -> Plan:
    """A flight recorder that writes nothing unless it is asked."""
    return replace(Plan(directory, 2 * SECOND_NS, 64 << 20, 8, (Trigger("failures", 1e6),), 60 * SECOND_NS), **changed)


def flown(session: FlightSession, wanted: Plan) -> Flown:
    """Let a flight recorder watch, until a signal ends it."""
    result = Flown(wanted.directory)
    with watched(session):
        fly(wanted, result.said.append, result.complaints.append)
    assert result.said.pop(0).endswith(f"files go to {wanted.directory}; Ctrl-C ends it")
    return result


@contextmanager
def watched(session: FlightSession) -> Iterator[None]:
    """Recorders get this session and its clock instead of the machine's."""
    with recorded_from(session), pytest.MonkeyPatch.context() as patch:
        clock: Any = SimpleNamespace(sleep=session.sleep, time_ns=lambda: REALTIME_NS + session.now_ns())
        for module in (flight_recorder, hosted):
            patch.setattr(module, "Session", lambda **_: session)
            patch.setattr(module, "now_ns", session.now_ns)
            patch.setattr(module, "time", clock)
        patch.setattr(beside, "Uncounted", lambda kernel: Uncounted(kernel, SETTING.revision))
        yield


def asking(*looks: int, stop: int) -> Callable[[int], None]:
    """Asks for a file in some looks, and ends the flight in another."""

    def looked(number: int) -> None:
        if number in looks:
            signal.raise_signal(signal.SIGUSR1)
        if number == stop:
            signal.raise_signal(signal.SIGTERM)

    return looked


def full_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be full once, in the midst of the first file."""
    write, writes = PartialFile.write, iter(range(1000))

    def written(self: PartialFile, data: bytes) -> None:
        if next(writes) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    monkeypatch.setattr(PartialFile, "write", written)
