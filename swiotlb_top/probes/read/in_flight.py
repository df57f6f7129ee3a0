"""Which calls are under way, as far as the entries tell that the probes keep in the kernel.

The probes know a call by the address of its frame on the kernel's stack. The entry of a call is kept in a table of its
CPU until the call returns (``struct nest``). A call that moves to another CPU leaves its entry behind, and a call that
is preempted for long may find its entry overwritten. The probes note both (``struct elsewhere``): a call is over if its
frame has returned later than it was entered.
"""

from __future__ import annotations

import struct
from typing import Final

_NESTING: Final = 8
NEST_BYTES: Final = 8 + 16 * _NESTING
"""``struct nest``: top, and frame and entry of each call"""
_CELLS: Final = 4096
ELSEWHERE_BYTES: Final = 2 * 16 * _CELLS + 8
"""``struct elsewhere``: frame and time of each entry that lost its place, the same of each return that found no entry,
and how many entries of the first kind were overwritten"""
_CALL: Final = struct.Struct("=QQ")
_TOLD: Final = 1 << 63
_LOST_AFTER_NS: Final = 60_000_000_000
"""No call takes as long. One that seems to be under way for longer has returned without a record: the kernel runs no
fexit program for calls that are under way while another tracer attaches to their function or detaches from it."""

_Call = tuple[int, int]
"""(frame, entry_ns)"""


class InFlight:
    """Follows the calls that were entered since the probes began to keep entries."""

    def __init__(self) -> None:
        self._displaced: list[_Call] = [(0, 0)] * _CELLS
        self._overwritten = 0
        self._pending: set[_Call] = set()
        self._over: set[_Call] = set()
        self._lost: set[_Call] = set()
        self._not_told = 0
        self._none_before_ns = 0
        self._unknown_until_ns = 0
        self._older_are_over = False
        self._first_look_ns = self._last_look_ns = 0

    def older_are_over(self) -> None:
        """Calls from before entries were kept have returned."""
        self._older_are_over = True

    @property
    def has_every_entry(self) -> bool:
        """Whether every call that is under way has an entry: none is left from before they were kept.

        But for calls whose entry the kernel ran no program for, as it ran on that CPU already: those show at their end.
        """
        return self._older_are_over or self._last_look_ns - self._first_look_ns > _LOST_AFTER_NS

    def none_before(self, now_ns: int, nests: bytes, elsewhere: bytes) -> int:
        """Up to when every call with an entry has returned: ``now_ns``, or when the oldest under way was entered.

        It is ``now_ns`` if no call is under way, else the time at which the oldest of them was entered.

        :param now_ns: a time before ``nests`` and ``elsewhere`` were read.
        :param nests: the ``struct nest`` of every CPU, one after the other.
        :param elsewhere: ``struct elsewhere``.
        """
        self._first_look_ns, self._last_look_ns = self._first_look_ns or now_ns, now_ns
        kept = list(_CALL.iter_unpack(elsewhere[:-8]))
        displaced, returned = kept[:_CELLS], dict(kept[_CELLS:])
        self._note_displaced(displaced, int.from_bytes(elsewhere[-8:], "little"), now_ns)
        waiting = {
            call
            for at in range(0, len(nests), NEST_BYTES)
            for call in _CALL.iter_unpack(nests[at + 8 : at + NEST_BYTES])
            if call[0] and call[1] and not call[1] & _TOLD
        }
        seen = waiting | self._pending
        self._over |= {(frame, entry_ns) for frame, entry_ns in seen if returned.get(frame, 0) > entry_ns}
        too_old = {call for call in seen - self._over if now_ns - call[1] > _LOST_AFTER_NS}
        self._not_told += len(too_old - self._lost)
        self._lost = too_old
        self._over &= seen
        self._pending -= self._over | too_old
        if now_ns >= self._unknown_until_ns:
            self._none_before_ns = min((entry_ns for _, entry_ns in seen - self._over - too_old), default=now_ns)
        return min(self._none_before_ns, now_ns)

    def take_lost(self) -> int:
        """How many calls were found, since the last time this was called, to have returned without a record."""
        taken, self._not_told = self._not_told, 0
        return taken

    def _note_displaced(self, displaced: list[_Call], overwritten: int, now_ns: int) -> None:
        """Remember the entries that lost their place since the last look."""
        changed = [(old, new) for old, new in zip(self._displaced, displaced, strict=True) if old != new]
        known = sum(bool(old[0]) and old[0] != new[0] for old, new in changed)
        if overwritten - self._overwritten > known:
            # Some entries were overwritten before they were read: for a while, any call may be under way.
            self._unknown_until_ns = now_ns + _LOST_AFTER_NS
        self._pending |= {new for _, new in changed if new[0]}
        self._displaced, self._overwritten = displaced, overwritten
