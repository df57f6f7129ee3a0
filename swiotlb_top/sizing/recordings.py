"""Recordings, and the demand that is in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from swiotlb_top.allocator import Choice
from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.pipeline import choice_for
from swiotlb_top.sizing.assumptions import doubtful_revision
from swiotlb_top.sizing.demand import Demand, demand_of
from swiotlb_top.sizing.places import fetched, is_url
from swiotlb_top.trace import whole


def read_named(name: str, revision: str | None = None, below: Path | None = None) -> Demand:
    """The demand of a recording by its name: a file of this machine, or a URL.

    :param below: the directory that names of files are relative to; None: the current one.
    :raises SwiotlbTopError: as :func:`read` and :func:`~swiotlb_top.sizing.places.fetched`.
    """
    if not is_url(name):
        return read((below or Path()) / name, revision, name)
    with fetched(name) as path:
        try:
            demand = read(path, revision, name)
        except UnreadableError as error:
            raise UnreadableError(str(error).replace(str(path), name)) from None
        return replace(demand, damage=demand.damage.replace(str(path), name))


def read(path: Path, revision: str | None = None, called: str | None = None) -> Demand:
    """The demand of a recording.

    :param revision: name of what other configurations have; None: the recorded kernel's own.
    :param called: how people call the recording; None: by the name of its file.
    :raises UnreadableError: it is no recording, or holds nothing that could be sized.
    :raises UsageError: there is no such revision, or the recording is partial.
    :raises CannotError: no revision is known for its kernel.
    """
    trace = whole(path)
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
