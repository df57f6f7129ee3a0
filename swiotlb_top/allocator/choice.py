"""Which revision a kernel has: aspect by aspect, from what is in it; its release is the last resort."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final, NamedTuple

from swiotlb_top.allocator.differences import Difference, release_key
from swiotlb_top.allocator.revision import (
    ASPECTS,
    MAINLINE,
    REVISIONS,
    Revision,
    composed,
    differing,
    newest_until,
    rows_of,
)
from swiotlb_top.errors import CannotError

_NEWEST_KNOWN: Final = "7.3"
_NEWEST_KEY: Final = (7, 3)
_OLDEST_KNOWN: Final = "6.0"
_OLDEST_KEY: Final = (6, 0)
_ALL_WORDS: Final = "areas"
"""Is in every list of features but those of old recordings, whose writers knew the next four only."""
_OLD_WORDS: Final = frozenset({"dynamic", "total_used", "transient_nslabs", "pad_slots"})


class Reason(NamedTuple):
    """Why one aspect is as it is: the row taken, and what decided."""

    row: Difference
    why: str

    @property
    def aspect(self) -> str:
        return self.row.aspect


class Choice(NamedTuple):
    """A kernel's revision, and a reason an aspect."""

    revision: Revision
    reasons: tuple[Reason, ...]
    note: str = ""
    """What is doubtful about it; empty if nothing is."""


def choose(features: Collection[str], release: str) -> Choice:
    """The revision of a kernel with these features (words of ``kernel.layout``) and ``uname -r``.

    Of each aspect the newest row is taken that a feature shows; where none is shown, the one of the
    release. A release that cannot be read, or is newer than all that is known, has the newest row.

    :raises CannotError: the kernel is older than swiotlb's areas (6.0).
    """
    key = release_key(release)
    note = ""
    if key is None:
        note = f"{release!r} is no release: taken for the newest that is known, {_NEWEST_KNOWN}"
    elif key > _NEWEST_KEY:
        note = f"{release} is newer than all that is known here: taken for {_NEWEST_KNOWN} where no feature decides"
    elif key < _OLDEST_KEY and not features:
        raise CannotError(f"no reference is known for the swiotlb of {release}: it is older than {_OLDEST_KNOWN}")
    reasons = tuple(_reason(aspect, features, key or _NEWEST_KEY) for aspect in ASPECTS)
    return Choice(_named(composed(release, (reason.row for reason in reasons))), reasons, note)


def _reason(aspect: str, features: Collection[str], key: tuple[int, ...]) -> Reason:
    rows = rows_of(aspect)
    for row in reversed(rows):
        if row.shown_by and all(_shown(word, features) for word in row.shown_by):
            return Reason(row, f"shown by {', '.join(row.shown_by)}")
    return Reason(newest_until(rows, key), "by release")


def _shown(word: str, features: Collection[str]) -> bool:
    absent = word.removeprefix("no ")
    if absent == word:
        return word in features
    return absent not in features and (_ALL_WORDS in features or absent in _OLD_WORDS)


def _named(revision: Revision) -> Revision:
    """The known revision that is the same; else with a name that says which it is like, and in what it is not."""
    for known in REVISIONS.values():
        if not differing(known, revision):
            return known
    like = min(_newest_first(), key=lambda known: len(differing(known, revision)))
    others = differing(like, revision)
    whose = max(_newest_first(), key=lambda known: sum(getattr(known, a) == getattr(revision, a) for a in others))
    if others == ("order",):
        return replace(revision, name=f"{like.name} in {whose.name}'s order")
    return replace(revision, name=f"{like.name} with {whose.name}'s {', '.join(others).replace('_', ' ')}")


def _newest_first() -> list[Revision]:
    return [REVISIONS[name] for name in reversed(MAINLINE)]
