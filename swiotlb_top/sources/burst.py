"""How much of a burst is judged: so much that each costs about the same, time and memory."""

from __future__ import annotations

from typing import Final

from swiotlb_top.events import RECORD

_EXITS: Final = RECORD.size // 8
"""A record begins with when its call was over."""


def cut(records: bytes, begin_ns: int, until_ns: int, most_records: int, under_way_ns: int) -> tuple[bytes, int]:
    """The records of a burst to judge, and up to when they are complete.

    What goes beyond ``most_records`` is left out, as far as a stretch as long as ``under_way_ns`` remains to be judged.

    :param records: packed, roughly as their calls ended.
    :param begin_ns: when the state was read that the burst begins from.
    :param until_ns: up to when ``records`` are complete.
    :param under_way_ns: how long after a moment the calls that it saw under way may end.
    """
    exits_ns = memoryview(records).cast("Q")[::_EXITS].tolist()
    if len(exits_ns) <= most_records:
        return records, until_ns
    last_ns = max(exits_ns[most_records - 1], begin_ns + 2 * under_way_ns)
    if last_ns - under_way_ns >= until_ns:
        return records, until_ns
    kept = [at for at, exit_ns in enumerate(exits_ns) if exit_ns <= last_ns]
    size = RECORD.size
    return b"".join([records[at * size : at * size + size] for at in kept]), last_ns - under_way_ns
