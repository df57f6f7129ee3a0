"""Recordings, and the demand that is in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from swiotlb_top.allocator import Choice
from swiotlb_top.errors import CannotError
from swiotlb_top.pipeline import choice_for
from swiotlb_top.sizing.assumptions import doubtful_revision
from swiotlb_top.sizing.demand import Demand, demand_of
from swiotlb_top.trace import TraceReader


def read(path: Path, revision: str | None = None, called: str | None = None) -> Demand:
    """The demand of a recording.

    :param revision: name of what other configurations have; None: the recorded kernel's own.
    :param called: how people call the recording; None: by the name of its file.
    :raises UnreadableError: it is no recording, or holds nothing that could be sized.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for its kernel.
    """
    trace = TraceReader(path)
    kernel = trace.header.kernel
    wanted = choice_for(kernel, revision).revision if revision is not None else None
    try:
        choice = choice_for(kernel)
    except CannotError:
        if wanted is None:
            raise
        choice = Choice.of(wanted)
    demand = demand_of(str(path) if called is None else called, kernel.release, trace.stream(), choice.revision, wanted)
    if wanted is not None or (choice.is_known and len(choice.candidates) == 1):
        return demand
    others = [one.revision.name for one in choice.candidates if one.revision != choice.revision]
    doubt = doubtful_revision(choice.revision.name, others)
    return replace(demand, assumptions=(*demand.assumptions, doubt))
