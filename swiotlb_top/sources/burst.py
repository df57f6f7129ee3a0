"""How much of a burst is judged: a bounded part, so that each burst costs about the same time and memory."""

from __future__ import annotations

from typing import Final, NamedTuple

from swiotlb_top.records import DURATION_UNKNOWN, durations_ns, exits_ns, select
from swiotlb_top.state import MemState

MOST_WHILE_COPIED: Final = 20_000
"""If more calls than these ran while the state was copied, the judge cannot find out what it became meanwhile."""


class Burst(NamedTuple):
    """A state, and the calls after it."""

    state: MemState
    records: bytes
    until_ns: int
    """Up to when they are complete, of calls that were seen to begin."""
    whole: bool
    """Whether none was under way that was not."""


def cut(records: bytes, copied_ns: int, until_ns: int, most_records: int, least_ns: int) -> tuple[bytes, int]:
    """The records of a burst to judge, and the time up to which they are complete (see :class:`.Known`).

    The records beyond ``most_records`` are left out, but at least ``least_ns`` after the copy remain. A call whose
    entry was not seen stays, since it may have been under way all the time. So does a call that returned later, but
    was entered before the time that is returned: it may have taken effect by then.

    :param records: packed, roughly in the order in which their calls returned.
    :param copied_ns: when the copy of the state was complete from which the burst begins.
    :param until_ns: the time up to which ``records`` are complete.
    :param most_records: how many records to keep at most.
    :param least_ns: how much time after ``copied_ns`` to keep at least.
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
