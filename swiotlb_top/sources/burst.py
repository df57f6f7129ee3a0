"""How much of a burst is judged: so much that each costs about the same, time and memory."""

from __future__ import annotations

from typing import Final, NamedTuple

from swiotlb_top.records import DURATION_UNKNOWN, durations_ns, exits_ns, select
from swiotlb_top.state import MemState

MOST_WHILE_COPIED: Final = 20_000
"""With more calls than these the judge does not make out what the state became while it was copied."""


class Burst(NamedTuple):
    """A state, and the calls after it."""

    state: MemState
    records: bytes
    until_ns: int
    """Up to when they are complete, of calls that were seen to begin."""
    whole: bool
    """Whether none was under way that was not."""


def cut(records: bytes, copied_ns: int, until_ns: int, most_records: int, least_ns: int) -> tuple[bytes, int]:
    """The records of a burst to judge, and up to when they are complete: whatever was entered before is among them.

    What goes beyond ``most_records`` is left out, as far as ``least_ns`` after the copy remains to be judged. What was
    not seen to begin stays: it may have been under way all the time. So do calls that ended later and were entered
    before that moment: they may have taken effect by then.

    :param records: packed, roughly as their calls ended.
    :param copied_ns: when the state had been copied that the burst begins from.
    :param until_ns: up to when ``records`` are complete.
    """
    ended_ns = exits_ns(records)
    if len(ended_ns) <= most_records:
        return records, until_ns
    last_ns = ended_ns[most_records - 1]
    if sum(exit_ns <= copied_ns for exit_ns in ended_ns) <= MOST_WHILE_COPIED:
        last_ns = max(last_ns, copied_ns + least_ns)
    last_ns = min(last_ns, until_ns)
    kept = [
        place
        for place, (exit_ns, took_ns) in enumerate(zip(ended_ns, durations_ns(records), strict=True))
        if exit_ns <= last_ns or took_ns == DURATION_UNKNOWN or exit_ns - took_ns < last_ns
    ]
    return select(records, kept), last_ns
