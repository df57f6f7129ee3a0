"""A recording as a Perfetto trace: each mapping from map to unmap, maps that failed, and how full the pools are.

Field numbers are those of Perfetto's trace_packet.proto and track_event.proto. Times are on the kernel's monotonic
clock; a clock snapshot in the trace lets Perfetto show them as wall clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from swiotlb_top.convert.lanes import Lanes
from swiotlb_top.convert.levels import Levels
from swiotlb_top.convert.packets import Tracks, event
from swiotlb_top.events import Find, Map
from swiotlb_top.recording.books import Began, Ended, Grew, Happening, Lost, Read, Refused
from swiotlb_top.recording.clock import Clock
from swiotlb_top.recording.rows import Mapping

_MOST_FLOWS: Final = 64
"""How many of the latest maps that found no room get an arrow to the growth that follows them."""


def perfetto_pieces(happenings: Iterable[Happening], clock: Clock, title: str) -> Iterator[bytes]:
    """The packets of the trace.

    :param title: name of the group of all tracks.
    """
    timeline = Timeline(clock, title)
    for happening in happenings:
        timeline.add(happening)
        yield timeline.take()
    yield timeline.take()


class Timeline:
    """Draws what happened."""

    def __init__(self, clock: Clock, title: str) -> None:
        self._tracks = Tracks(title, clock.monotonic_ns, clock.realtime_ns)
        self._levels = Levels(self._tracks)
        self._lanes: dict[str, Lanes] = {}
        """The lanes of each device."""
        self._held: dict[int, tuple[Find | Map, int, Lanes]] = {}
        """By the ``id()`` of its call, each mapping that is held: the call, its lane, and the device's lanes."""
        self._flows: list[int] = []
        """The arrows of maps that found no room since the latest growth."""
        self._last_flow = 0

    def take(self) -> bytes:
        """The packets written since the last call."""
        return self._tracks.take()

    def add(self, happening: Happening) -> None:
        """Draw what happened next."""
        if isinstance(happening, Began):
            self._began(happening)
        elif isinstance(happening, Ended):
            self._ended(happening)
        elif isinstance(happening, Refused):
            self._refused(happening)
        elif isinstance(happening, Grew):
            self._grew(happening)
        elif isinstance(happening, Lost):
            gap = happening.gap
            lost = f"{gap.lost} events lost: " if gap.lost else ""
            self._instant(gap.exit_ns, self._tracks.of("losses"), f"{lost}{gap.cause}", {})
            self._levels.forget()
        elif isinstance(happening, Read):
            self._levels.read(happening)

    def _began(self, began: Began) -> None:
        mapping, call = began.mapping, began.call
        about = _about(mapping, "size_bytes", "pool", "slot", "cpu", "latency_ns", "verdict", "overlap")
        if began.pool is None:
            self._instant(call.exit_ns, self._device_track(mapping), "map in a pool that is not known", about)
            return
        lanes = self._of_device(mapping)
        lane = lanes.take(call.exit_ns)
        self._held[id(call)] = call, lane, lanes
        flows = self._next_flow() if mapping.pool_kind == "transient" else ()
        name = f"{mapping.nslots} slot{'s' * (mapping.nslots != 1)}"
        self._tracks.add(event(call.exit_ns, lane, "begin", name, about, flows=flows))
        self._levels.changed(call.exit_ns, began.pool, mapping.slot, began.level)

    def _ended(self, ended: Ended) -> None:
        mapping = ended.mapping
        held = self._held.pop(id(ended.call), None)
        if mapping.unmap_ns is None:
            return  # its slice stays open, so its lane is never given back
        about = _about(mapping, "direction", "unmap_cpu", "unmap_latency_ns", "unmap_verdict")
        if held is None:
            about = _about(mapping, "size_bytes", "pool", "slot") | about
            self._instant(mapping.unmap_ns, self._device_track(mapping), "unmap of what was mapped before", about)
        else:
            call, lane, lanes = held
            end_ns = max(mapping.unmap_ns, call.exit_ns)
            self._tracks.add(event(end_ns, lane, "end", "", about))
            lanes.give_back(lane, end_ns)
        self._levels.changed(mapping.unmap_ns, ended.pool, mapping.slot, ended.level)

    def _refused(self, refused: Refused) -> None:
        failure = refused.failure
        about: dict[str, str | int] = {
            name: value
            for name, value in failure._asdict().items()
            if value is not None and name in ("size_bytes", "needed_slots", "sentence", "cpu", "verdict", "used_slots")
        }
        name = f"failed: {failure.cause or 'not explained'}"
        self._instant(failure.time_ns, self._device_track(refused.mapping), name, about, flows=self._next_flow())

    def _grew(self, grew: Grew) -> None:
        growth, track = grew.event, self._tracks.of("growth")
        flows, self._flows = tuple(self._flows), []
        if not growth.pool:
            self._instant(growth.exit_ns, track, "growth: no memory", {}, ends=flows)
            return
        about: dict[str, str | int] = {"pool": f"{growth.start:#x}", "nslabs": growth.nslabs, "nareas": growth.nareas}
        self._instant(growth.exit_ns, track, "growth", about, ends=flows)

    def _instant(
        self,
        time_ns: int,
        track: int,
        name: str,
        about: dict[str, str | int],
        *,
        flows: tuple[int, ...] = (),
        ends: tuple[int, ...] = (),
    ) -> None:
        self._tracks.add(event(time_ns, track, "instant", name, about, flows=flows, ends=ends))

    def _next_flow(self) -> tuple[int]:
        self._last_flow += 1
        self._flows = [*self._flows[1 - _MOST_FLOWS :], self._last_flow]
        return (self._last_flow,)

    def _device_track(self, mapping: Mapping) -> int:
        return self._tracks.of(f"{mapping.device} ({mapping.driver})" if mapping.driver else mapping.device)

    def _of_device(self, mapping: Mapping) -> Lanes:
        track = self._device_track(mapping)
        name = f"{mapping.device} ({mapping.driver})"
        if name not in self._lanes:
            self._lanes[name] = Lanes(lambda: self._tracks.new("mappings", track))
        return self._lanes[name]


def _about(mapping: Mapping, *names: str) -> dict[str, str | int]:
    """These columns of a mapping, without those that are not known."""
    return {name: value for name in names if (value := getattr(mapping, name)) is not None}
