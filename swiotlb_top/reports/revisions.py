"""The report on the known revisions of swiotlb, and on the one that this kernel has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from swiotlb_top.allocator import DIFFERENCES, KNOWN_BY, REVISIONS, Choice, choose
from swiotlb_top.allocator.revision import ASPECTS, rows_of
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import layout


@dataclass(frozen=True, slots=True)
class Known:
    """The known revisions, and this kernel's ``choice``: None if its revision is not known."""

    release: str
    choice: Choice | None
    unknown: str = ""
    """Why the revision of this kernel is not known; empty if it is."""

    def as_json(self) -> dict[str, object]:
        """Every difference, every named revision's aspects, and this kernel's."""
        return {**_known_as_json(), "kernel": _kernel_as_json(self.release, self.choice, self.unknown)}

    def as_text(self) -> str:
        """The differences, aspect by aspect; the names of revisions; and what this kernel has."""
        return "\n".join([*_known_as_text(), "", *_kernel_as_text(self.release, self.choice, self.unknown)])


def known() -> Known:
    """Make the report for this kernel."""
    uname = os.uname()
    try:
        return Known(uname.release, choose(layout.load().features, uname.release, uname.version))
    except CannotError as error:
        return Known(uname.release, None, str(error))


def _known_as_text() -> Iterator[str]:
    """The differences, aspect by aspect, and the names of revisions."""
    for aspect in ASPECTS:
        yield _words(aspect)
        for row in rows_of(aspect):
            yield f"  {row.since:8} {row.commit or '-':13} {row.sentence}"
    yield ""
    yield f"known by name: {KNOWN_BY}"


def _kernel_as_text(release: str, choice: Choice | None, unknown: str) -> Iterator[str]:
    if choice is None:
        yield f"this kernel ({release}) cannot be told: {unknown}"
        return
    yield f"this kernel ({release}) has {choice.revision.name}"
    if choice.note:
        yield f"  {choice.note}"
    for reason in choice.reasons:
        yield f"  {_words(reason.aspect):21} as of {reason.row.since:8} {reason.why}"


def _known_as_json() -> dict[str, object]:
    differences = [
        {
            "aspect": row.aspect,
            "value": _plain(row.value),
            "since": row.since,
            "commit": row.commit or None,
            "subject": row.subject or None,
            "taken_over_by": [tree.name for tree in row.trees],
            "shown_by": list(row.shown_by),
            "what": row.sentence,
        }
        for row in DIFFERENCES
    ]
    return {
        "differences": differences,
        "revisions": {
            name: {aspect: _plain(getattr(revision, aspect)) for aspect in ASPECTS}
            for name, revision in REVISIONS.items()
        },
    }


def _kernel_as_json(release: str, choice: Choice | None, unknown: str) -> dict[str, object]:
    if choice is None:
        return {"release": release, "revision": None, "may_be": [], "note": unknown, "reasons": {}}
    reasons = {reason.aspect: {"since": reason.row.since, "why": reason.why} for reason in choice.reasons}
    return {
        "release": release,
        "revision": choice.revision.name,
        "may_be": [candidate.name for candidate in choice.candidates],
        "note": choice.note,
        "reasons": reasons,
    }


def _words(aspect: str) -> str:
    return aspect.replace("_", " ")


def _plain(value: object) -> object:
    """The value of a row as JSON can hold it: the name of a function in place of the function."""
    if isinstance(value, Enum):
        return value.value
    return getattr(value, "__name__", value)
