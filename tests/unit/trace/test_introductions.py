"""Who devices are is told again, at times that a recording may have, and not of more devices than are kept."""

from __future__ import annotations

from swiotlb_top.records import RECORD, Kind, exits_ns, objects
from swiotlb_top.state import DeviceName
from swiotlb_top.trace.introductions import MOST_DEVICES, Introductions

SECOND_NS = 1_000_000_000


class Told:
    """A sink that notes what it is told."""

    def __init__(self, known: Introductions, state_end_ns: int = 0) -> None:
        self.names: list[DeviceName] = []
        self.packed = b""
        known.tell(self, state_end_ns)  # type: ignore[arg-type]

    def device_name(self, name: DeviceName) -> None:
        self.names.append(name)

    def records(self, packed: bytes) -> None:
        self.packed += packed


def introduction(dev: int, time_ns: int = 1) -> bytes:
    return RECORD.pack(time_ns, 0, 0, Kind.DEVICE, 0, dev, 0, 0, 0, 0, 0, 0)


def test_an_introduction_keeps_its_time_as_far_as_a_recording_may_reach_back() -> None:
    """Another one of the same device may be in the recording, and earlier than the state that it begins with."""
    known = Introductions()
    known.records(introduction(1, 100 * SECOND_NS) + introduction(2, 990 * SECOND_NS))
    assert exits_ns(Told(known, 1000 * SECOND_NS).packed) == [970 * SECOND_NS, 990 * SECOND_NS]


def test_of_very_many_devices_the_latest_are_known() -> None:
    known = Introductions()
    for dev in range(MOST_DEVICES + 10):
        known.records(introduction(dev))
        known.name(DeviceName(dev, "a", "b"))
    told = Told(known)
    assert [name.dev for name in told.names] == objects(told.packed) == [*range(10, MOST_DEVICES + 10)]


def test_a_copy_learns_nothing_more() -> None:
    known = Introductions()
    known.records(introduction(1))
    copy = known.copy()
    known.records(introduction(2))
    known.name(DeviceName(2, "a", "b"))
    assert (Told(copy).names, objects(Told(copy).packed)) == ([], [1])
