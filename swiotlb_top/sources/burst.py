"""How much of a burst is judged: so much that each costs about the same, time and memory."""

from __future__ import annotations

from typing import Final

from swiotlb_top.records import DURATION_UNKNOWN, RECORD

_EXITS: Final = RECORD.size // 8
"""A record begins with when its call was over,"""
_DURATIONS: Final = RECORD.size // 4
_DURATION: Final = 2
"""and goes on with how long it took."""


def cut(records: bytes, begin_ns: int, until_ns: int, most_records: int, least_ns: int) -> tuple[bytes, int]:
    """The records of a burst to judge, and up to when they are complete: whatever was entered before is among them.

    What goes beyond ``most_records`` is left out, as far as ``least_ns`` remains to be judged. What was not seen to
    begin stays: it may have been under way all the time.

    :param records: packed, roughly as their calls ended.
    :param begin_ns: when the state was read that the burst begins from.
    :param until_ns: up to when ``records`` are complete.
    """
    exits_ns = memoryview(records).cast("Q")[::_EXITS].tolist()
    if len(exits_ns) <= most_records:
        return records, until_ns
    last_ns = max(exits_ns[most_records - 1], begin_ns + least_ns)
    if last_ns >= until_ns:
        return records, until_ns
    durations_ns = memoryview(records).cast("I")[_DURATION::_DURATIONS].tolist()
    kept = []
    for at, (exit_ns, duration_ns) in enumerate(zip(exits_ns, durations_ns, strict=True)):
        if exit_ns <= last_ns or duration_ns == DURATION_UNKNOWN:
            kept.append(at)
        else:
            until_ns = min(until_ns, exit_ns - duration_ns)
    size = RECORD.size
    return b"".join([records[at * size : at * size + size] for at in kept]), min(until_ns, last_ns)
