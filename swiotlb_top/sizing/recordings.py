"""Recordings, and the demand that is in them."""

from __future__ import annotations

from pathlib import Path

from swiotlb_top.errors import CannotError
from swiotlb_top.pipeline import choice_for
from swiotlb_top.sizing.demand import Demand, demand_of
from swiotlb_top.trace import TraceReader


def read(path: Path, revision: str | None = None) -> Demand:
    """The demand of a recording.

    :param revision: name of what other configurations have; None: the recorded kernel's own.
    :raises UnreadableError: it is no recording, or holds nothing that could be sized.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for its kernel.
    """
    trace = TraceReader(path)
    kernel = trace.header.kernel
    wanted = choice_for(kernel, revision).revision if revision is not None else None
    try:
        recorded = choice_for(kernel).revision
    except CannotError:
        if wanted is None:
            raise
        recorded = wanted
    return demand_of(path, kernel.release, trace.stream(), recorded, wanted)
