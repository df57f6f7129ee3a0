"""How long a recording is. Reports and the screen both say so, and positions are counted in it."""

from __future__ import annotations

from swiotlb_top.trace.items import End


def length_ns(begin_ns: int, last_ns: int, end: End | None) -> int:
    """From the first state to the last event, and on to when recording stopped, if that is told.

    :param begin_ns: when the first state was read.
    :param last_ns: when the last event was over, as far as the recording can be read.
    :param end: None where the recording was cut short.
    """
    return max(0, last_ns - begin_ns, end.duration_ns if end else 0)
