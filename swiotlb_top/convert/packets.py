"""The packets of a Perfetto trace: its clocks, its tracks, and the events on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from swiotlb_top.convert.protobuf import fixed64, number, packed

_REALTIME, _MONOTONIC = 1, 3
"""Perfetto's numbers of clocks."""
_SEQUENCE: Final = number(10, 1)
_ON_MONOTONIC: Final = number(58, _MONOTONIC)
_TYPES: Final = {"begin": number(9, 1), "end": number(9, 2), "instant": number(9, 3)}
_COUNTER: Final = number(9, 4)
_ROOT: Final = 1


def _packet(*fields: bytes) -> bytes:
    """One ``TracePacket`` as a field of ``Trace``."""
    return packed(1, b"".join(fields))


def event(
    time_ns: int,
    track: int,
    kind: Literal["begin", "end", "instant"],
    name: str,
    about: Mapping[str, str | int],
    *,
    flows: tuple[int, ...] = (),
    ends: tuple[int, ...] = (),
) -> bytes:
    """The begin or the end of a slice, or an instant.

    :param about: names and values that Perfetto shows with it.
    :param flows: numbers of the arrows that begin here.
    :param ends: numbers of the arrows that end here.
    """
    fields = [_TYPES[kind], number(11, track)]
    if name:
        fields.append(packed(23, name))
    fields += [packed(4, packed(10, key) + _value(value)) for key, value in about.items()]
    fields += [fixed64(47, flow) for flow in flows]
    fields += [fixed64(48, flow) for flow in ends]
    return _on_track(time_ns, fields)


def counter(time_ns: int, track: int, value: int) -> bytes:
    """The value of a counter from a time on."""
    return _on_track(time_ns, [_COUNTER, number(11, track), number(30, value)])


def _on_track(time_ns: int, fields: list[bytes]) -> bytes:
    return _packet(number(8, time_ns), _SEQUENCE, _ON_MONOTONIC, packed(11, b"".join(fields)))


def _value(value: str | int) -> bytes:
    """A value of a debug annotation."""
    return number(4, value) if isinstance(value, int) else packed(6, value)


class Tracks:
    """The tracks of a trace, and the packets written so far.

    :param title: name of the group of all tracks.
    :param monotonic_ns: a moment on the kernel's monotonic clock.
    :param realtime_ns: the same moment as Unix time.
    """

    def __init__(self, title: str, monotonic_ns: int, realtime_ns: int) -> None:
        clocks = b"".join(
            packed(1, number(1, clock) + number(2, time_ns))
            for clock, time_ns in ((_MONOTONIC, monotonic_ns), (_REALTIME, realtime_ns))
        )
        cleared = number(13, 1)
        self._written = [_packet(packed(6, clocks + number(2, _MONOTONIC)), _SEQUENCE, cleared)]
        self._last = _ROOT
        self._named: dict[str, int] = {}
        self._describe(_ROOT, packed(2, title))

    def take(self) -> bytes:
        """The packets written since the last call."""
        written, self._written = b"".join(self._written), []
        return written

    def add(self, packet: bytes) -> None:
        """Write a packet."""
        self._written.append(packet)

    def of(self, name: str) -> int:
        """The track with a name, directly below the title. It is made when it is first asked for."""
        if name not in self._named:
            self._named[name] = self.new(name, _ROOT)
        return self._named[name]

    def new(self, name: str, parent: int, *, counts: str = "") -> int:
        """Make another track; several may have the same name.

        :param counts: the unit of a counter; empty if the track is none.
        """
        self._last += 1
        about = packed(2, name) + number(5, parent)
        self._describe(self._last, about + (packed(8, packed(6, counts)) if counts else b""))
        return self._last

    def _describe(self, track: int, about: bytes) -> None:
        self._written.append(_packet(_SEQUENCE, packed(60, number(1, track) + about)))
