"""A session with a kernel without a fault that runs in this process, on a clock of its own: for tests of the recorder.

The clock goes on when the kernel does something and when the recorder sleeps. Calls that are under way when the ring is
drained come with a later drain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final, Self

import pytest

from swiotlb_top import recorder
from swiotlb_top.accounting.totals import DeviceTotals
from swiotlb_top.events import ENTRY_UNKNOWN, Device, Event
from swiotlb_top.probes.read.program import Calls, Faults, Mode
from swiotlb_top.records import decode, split_at
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from tests.support.histories import machine
from tests.support.packed import packed
from tests.support.sound_kernel import SoundKernel, Span
from tests.support.sound_kernel_settings import Setting

SETTING: Final = Setting(
    "6.10", map_hook=False, dynamic=True, odd_areas=False, own_pool=False, overlapping=True, late=False
)
STEPS: Final = 25
"""What the kernel does from one look to the next."""
SLOW: Final = 0.1
"""Of so many calls ..."""
SLOW_NS: Final = 30_000_000
"""... each takes up to so long."""
REALTIME_NS: Final = 1_700_000_000_000_000_000


class _Kernel(SoundKernel):
    """One whose calls may take long, and on whose clock nothing happens for a while."""

    def span(self, not_before_ns: int = 0, *, lasts_ns: int = 30) -> Span:
        return super().span(not_before_ns, lasts_ns=SLOW_NS if self.random.random() < SLOW else lasts_ns)

    @property
    def now_ns(self) -> int:
        return self._now_ns

    def pass_time(self, time_ns: int) -> None:
        self._now_ns += time_ns


class SoundSession:
    """The kernel, and what its probes would tell.

    :param grace_s: how long a grace period takes.
    :param losing: the looks, counted from 0, in which the ring had no room for what came.
    :param looked: is called after each look, with its number.
    """

    def __init__(
        self,
        seed: int = 0,
        setting: Setting = SETTING,
        *,
        grace_s: float = 0.0,
        losing: frozenset[int] = frozenset(),
        looked: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._of = _Kernel(setting, seed)
        self._of.pass_time(10_000_000_000)
        self._grace_s = grace_s
        self._losing = losing
        self._looked = looked
        self._stopped = False
        self._looks = 0
        self._lost = 0
        self._untold: dict[int, Device] = {}
        """What was lost of devices: the probes tell it once more at the device's next call."""
        self.told: list[Event] = []
        """What came out of the ring."""
        self.program = SimpleNamespace(faults=lambda: Faults(lost_records=self._lost), counted=self._counted)

    @property
    def kernel(self) -> KernelInfo:
        return self._of.info

    def now_ns(self) -> int:
        return self._of.now_ns

    def sleep(self, seconds: float) -> None:
        self._of.pass_time(int(seconds * 1e9))

    def happened(self) -> list[Event]:
        """What is over, whether it came out of the ring or is in it still."""
        return self.told + [event for event in self._of.events if event.exit_ns <= self._of.now_ns]

    # ---- as of a session ---------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def set_mode(self, mode: Mode) -> None:
        self._stopped = mode is Mode.STOP

    def wait_for_older_calls(self, meanwhile: Callable[[], object]) -> None:
        meanwhile()

    def has_every_entry(self) -> bool:
        return True

    def sizes(self) -> MemState:
        return machine(transient_nslabs=self._of.swiotlb.transient_nslabs)

    def drain(self) -> bytes:
        self._go_on()
        return self._take()

    def drain_to_what_is_known(self) -> tuple[bytes, int]:
        self.sleep(2 * self._grace_s)
        records = self.drain()
        return records, self.known_now_ns()

    def known_now_ns(self) -> int:
        return min((_entry_ns(event) for event in self._of.events), default=self._of.now_ns)

    def state(self) -> MemState:
        """The state now."""
        return self._of.state()

    def settle(self) -> tuple[MemState, bytes, bytes]:
        self.sleep(2 * self._grace_s)
        self._go_on()
        state = self._of.state()
        return (state, *split_at(self._take(), state.begin_ns))

    def device_names(self, records: bytes) -> Iterator[DeviceName]:
        devices = (event for event in decode(records) if isinstance(event, Device))
        return (self.device_name(device.dev) for device in devices)

    def device_name(self, dev: int) -> DeviceName:
        return DeviceName(dev, f"0000:00:{dev & 0x1F:02x}.0", "nvme")

    # ---- how it does that ----------------------------------------------------

    def _go_on(self) -> None:
        for _ in range(0 if self._stopped else STEPS):
            self._of.step()
        self._looked(self._looks)
        self._looks += 1

    def _take(self) -> bytes:
        """The records of what is over, or of all once the probes have stopped."""
        over = [event for event in self._of.events if self._stopped or event.exit_ns <= self._of.now_ns]
        self._of.events = [event for event in self._of.events if event not in over]
        if self._looks - 1 in self._losing:
            self._lost += len(over)
            self._untold |= {event.dev: event for event in over if isinstance(event, Device)}
            return b""
        told = [*self._with_untold(sorted(over, key=lambda event: event.exit_ns))]
        self.told += told
        return packed(told)

    def _with_untold(self, events: list[Event]) -> Iterator[Event]:
        for event in events:
            device = self._untold.pop(getattr(event, "dev", 0), None)
            if device and not isinstance(event, Device):
                yield device._replace(exit_ns=event.exit_ns)
            yield event

    def _counted(self) -> tuple[dict[int, DeviceTotals], Calls]:
        """All calls are those of a device that is gone."""
        return {}, Calls(self._of.maps, self._of.failures, self._of.unmaps)


def _entry_ns(event: Event) -> int:
    """When a call was entered, or before that where nobody saw it."""
    entry_ns: int = getattr(event, "entry_ns", event.exit_ns)
    return entry_ns if entry_ns != ENTRY_UNKNOWN else event.exit_ns - SLOW_NS - 100


@contextmanager
def recorded_from(session: SoundSession) -> Iterator[None]:
    """The recorder gets this session, and its clock, instead of the machine's."""
    with pytest.MonkeyPatch.context() as patch:
        clock: Any = SimpleNamespace(sleep=session.sleep, time_ns=lambda: REALTIME_NS + session.now_ns())
        patch.setattr(recorder, "Session", lambda **_: session)
        patch.setattr(recorder, "now_ns", session.now_ns)
        patch.setattr(recorder, "time", clock)
        yield
