"""How much of a burst is judged: so much that each costs about the same, time and memory."""

from __future__ import annotations

from swiotlb_top.records import DURATION_UNKNOWN, durations_ns, exits_ns, select


def cut(records: bytes, begin_ns: int, until_ns: int, most_records: int, least_ns: int) -> tuple[bytes, int]:
    """The records of a burst to judge, and up to when they are complete: whatever was entered before is among them.

    What goes beyond ``most_records`` is left out, as far as ``least_ns`` remains to be judged. What was not seen to
    begin stays: it may have been under way all the time.

    :param records: packed, roughly as their calls ended.
    :param begin_ns: when the state was read that the burst begins from.
    :param until_ns: up to when ``records`` are complete.
    """
    ended_ns = exits_ns(records)
    if len(ended_ns) <= most_records:
        return records, until_ns
    last_ns = max(ended_ns[most_records - 1], begin_ns + least_ns)
    if last_ns >= until_ns:
        return records, until_ns
    kept = []
    for place, (exit_ns, took_ns) in enumerate(zip(ended_ns, durations_ns(records), strict=True)):
        if exit_ns <= last_ns or took_ns == DURATION_UNKNOWN:
            kept.append(place)
        else:
            until_ns = min(until_ns, exit_ns - took_ns)
    return select(records, kept), min(until_ns, last_ns)
