"""Which revision a kernel has: by what is in it, then by the tree it is from; its release is the last resort.

And which revision somebody means who names one, or a release: :func:`named`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from swiotlb_top.allocator.differences import DIFFERENCES, SEED, Difference, release_key
from swiotlb_top.allocator.revision import (
    ASPECTS,
    MAINLINE,
    REVISIONS,
    Revision,
    as_of,
    composed,
    differing,
    newest_until,
    row_in,
    rows_of,
)
from swiotlb_top.allocator.trees import TREES, Tree, read_release, trees_of
from swiotlb_top.errors import CannotError, UsageError

_NEWEST_KNOWN: Final = "7.3"
_NEWEST_KEY: Final = (7, 3)
_OLDEST_KNOWN: Final = "6.0"
_OLDEST_KEY: Final = (6, 0)
_LAST_MINORS: Final = {6: 19, 7: 3}
"""The last release of each major version that is known, by its second number: 7.0 came after 6.19."""
_A_RELEASE: Final = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?([-+~_][-+.~_0-9A-Za-z]{0,60})?")
"""A release as people write it, or as ``uname -r`` has it: "6.12", "6.6.30", "6.1.0-42-amd64"."""
_ALL_WORDS: Final = "areas"
"""Is in every list of features but those of old recordings, whose writers knew the next four only."""
_OLD_WORDS: Final = frozenset({"dynamic", "total_used", "transient_nslabs", "pad_slots"})
_OF_DYNAMIC: Final = frozenset({"order", "refuses_oversize", "largest_nslabs", "used", "frees_misfit_at_once"})
"""Aspects in which static kernels do not differ."""


class Reason(NamedTuple):
    """Why one aspect has its value: the row that was chosen, and what decided it."""

    row: Difference
    why: str
    is_shown: bool = False
    """Whether something in the kernel shows it. Else its release, or the tree that it is from, says so."""

    @property
    def aspect(self) -> str:
        return self.row.aspect


class Candidate(NamedTuple):
    """A revision that a kernel may have."""

    revision: Revision
    name: str
    """A name for the kernels that have it, for example "6.8 as Ubuntu ships it"."""


class Choice(NamedTuple):
    """A kernel's revision, with a reason for each aspect; and the other revisions that it may have."""

    revision: Revision
    reasons: tuple[Reason, ...]
    note: str = ""
    """What is doubtful about it; empty if nothing is."""
    candidates: tuple[Candidate, ...] = ()
    """The revisions it may have, the likeliest first: those of known kernels that have the features it shows. Kernels
    that its release may name come into question; if none of these has the features, all known kernels do. It is empty
    if no known kernel has them: then the kernel is an unknown one."""
    is_known: bool = False
    """Whether it must be one of these: its release may name known kernels, and some of them have its features."""

    @classmethod
    def of(cls, revision: Revision) -> Choice:
        """That revision and no other, whatever the kernel is."""
        return cls(revision, (), candidates=(Candidate(revision, revision.name),), is_known=True)


class _Kernel(NamedTuple):
    """A kernel that exists, as one row for each aspect."""

    name: str
    rows: tuple[Difference, ...]
    tree: Tree | None = None

    def has(self, shown: Mapping[str, Reason]) -> bool:
        """Whether it has all that is shown."""
        return all(row.value == shown[row.aspect].row.value for row in self.rows if row.aspect in shown)

    def reasons(self, shown: Mapping[str, Reason]) -> tuple[Reason, ...]:
        """What is shown, and what it has where nothing is."""
        return tuple(shown.get(row.aspect) or Reason(row, self._why(row)) for row in self.rows)

    def revision(self, shown: Mapping[str, Reason]) -> Revision:
        """The same, with a name."""
        revision = composed(self.name, (reason.row for reason in self.reasons(shown)))
        return _known(revision) if self.tree else _named(revision)

    def _why(self, row: Difference) -> str:
        return f"taken over by {self.name}" if self.tree in row.trees else "by release"


def choose(features: Collection[str], release: str, version: str = "") -> Choice:
    """The revision of a kernel with these features (words of ``kernel.layout``), ``uname -r`` and ``uname -v``.

    For each aspect, the newest row is taken that a feature shows; if none is shown, that of the likeliest candidate.
    If there are several candidates, or none, the note says so. A release that cannot be read, or is newer than all
    known ones, is treated as the newest known one.

    :param version: empty where it is not known.
    :raises CannotError: the kernel is older than swiotlb's areas (6.0).
    """
    key = release_key(release)
    if key is not None and key < _OLDEST_KEY and not features:
        raise CannotError(f"no reference is known for the swiotlb of {release}: it is older than {_OLDEST_KNOWN}")
    shown = _shown_by(features)
    left, at_home = _left(features, shown, release, version)
    kernel = left[0] if left else _mainline_at(release)
    return Choice(
        kernel.revision(shown),
        kernel.reasons(shown),
        _note(release, version, left, at_home),
        tuple(Candidate(kernel.revision(shown), kernel.name) for kernel in left),
        is_known=at_home and key is not None and key <= _NEWEST_KEY,
    )


KNOWN_BY: Final = (
    f"{', '.join(REVISIONS)}; the trees {', '.join(tree.name for tree in TREES)}; "
    f"releases from {_OLDEST_KNOWN} to {_NEWEST_KNOWN}, as 6.12, v6.6.30 or 6.1.0-42-amd64"
)
"""What :func:`named` knows, in words."""


def named(name: str) -> Revision:
    """The revision of a name: that of a revision, a tree, or a release, with or without a v before it.

    The name of a revision comes first: 6.6 is what 6.6.3 to 6.6.23 have, as :data:`REVISIONS` has it.

    :raises UsageError: nothing is known by it, or several trees may have called a build so.
    """
    plain = name.removeprefix("v")
    if plain in REVISIONS:
        return REVISIONS[plain]
    kernels = [_in_tree(tree) for tree in TREES if tree.name == name] or _released_as(plain)
    if not kernels:
        raise UsageError(f"there is no revision {name[:80]!r}; known are: {KNOWN_BY}")
    if len(kernels) > 1:
        names = " or ".join(kernel.name for kernel in kernels)
        raise UsageError(f"revision {name!r} may be {names}: give one of these names")
    kernel = kernels[0]
    return _known(composed(kernel.name, kernel.rows))


def _released_as(release: str) -> list[_Kernel]:
    """The known kernels that may call themselves so, those that differ in nothing once; none if it is no release."""
    key = release_key(release) if _A_RELEASE.fullmatch(release) else None
    if key is None or key[1] > _LAST_MINORS.get(key[0], key[1]):
        return []
    kernels = {
        kernel.rows: kernel for kernel in _of_release(release, "") if kernel.tree or _OLDEST_KEY <= key <= _NEWEST_KEY
    }
    return list(kernels.values())


def _left(
    features: Collection[str], shown: Mapping[str, Reason], release: str, version: str
) -> tuple[list[_Kernel], bool]:
    """The kernels that have what is shown, and whether they may call themselves so."""
    ignored = frozenset[str]() if "dynamic" in features else _OF_DYNAMIC
    binding = {aspect: reason for aspect, reason in shown.items() if aspect not in ignored}
    at_home = [kernel for kernel in _of_release(release, version) if kernel.has(binding)]
    left = at_home or [kernel for kernel in _anywhere(release) if kernel.has(binding)]
    different: dict[tuple[object, ...], _Kernel] = {}
    for kernel in left:
        different.setdefault(tuple(row.value for row in kernel.rows if row.aspect not in ignored), kernel)
    return list(different.values()), bool(at_home)


def _of_release(release: str, version: str) -> Iterator[_Kernel]:
    """The kernels that may call themselves so: of trees, and mainline's."""
    read = read_release(release, version)
    trees, sure = trees_of(read) if read else ((), False)
    yield from map(_in_tree, trees)
    if not sure:
        yield _mainline_at(release)


def _anywhere(release: str) -> Iterator[_Kernel]:
    """All kernels that are known: those of the same branch first, then mainline's, newest first."""
    read = read_release(release)
    yield from (_in_tree(tree) for tree in TREES if read and tree.base == read.branch)
    yield from map(_mainline_at, _MAINLINE_CHANGES)
    yield from map(_in_tree, TREES)
    yield _IN_66S_ORDER


def _in_tree(tree: Tree) -> _Kernel:
    return _Kernel(tree.name, tuple(row_in(tree, aspect) for aspect in ASPECTS), tree)


def _mainline_at(release: str) -> _Kernel:
    key = min(release_key(release) or _NEWEST_KEY, _NEWEST_KEY)
    name = ".".join(map(str, key))
    return _Kernel(name, tuple(newest_until(rows_of(aspect), key) for aspect in ASPECTS))


_MAINLINE_CHANGES: Final = sorted(
    {row.since for row in DIFFERENCES if not row.only_in_trees} - {SEED},
    key=lambda since: release_key(since) or (),
    reverse=True,
)
_IN_66S_ORDER: Final = _Kernel(
    "6.10 in 6.6's order",
    tuple(newest_until(rows_of(aspect), (6, 6) if aspect == "order" else (6, 10)) for aspect in ASPECTS),
)


def _note(release: str, version: str, left: list[_Kernel], at_home: bool) -> str:
    """What is doubtful about the first of the kernels that are left."""
    key = release_key(release)
    if key is None:
        return f"{release!r} is no release: taken for the newest that is known, {_NEWEST_KNOWN}"
    if key > _NEWEST_KEY:
        return f"{release} is newer than all that is known here: taken for {_NEWEST_KNOWN} where no feature decides"
    if not left:
        return f"no kernel that is known here has all that {release} shows: this one is unknown"
    first, *others = (kernel.name for kernel in left)
    if not at_home:
        return f"{release} shows what no kernel of that name is known to have: taken for {first}, which has it"
    if not others:
        return ""
    read = read_release(release, version)
    untold = ", which does not tell its sublevel," if read and read.build is None else ""
    return f"{release}{untold} may be {' or '.join([first, *others])}: what it does tells"


def _shown_by(features: Collection[str]) -> dict[str, Reason]:
    """Of each aspect of which these show a row: the newest."""
    shown = {}
    for row in DIFFERENCES:
        way = next((way for way in row.shown_by if all(_shown(word, features) for word in way.split(", "))), None)
        if way is not None:
            shown[row.aspect] = Reason(row, f"shown by {way}", is_shown=True)
    return shown


def _shown(word: str, features: Collection[str]) -> bool:
    absent = word.removeprefix("no ")
    if absent == word:
        return word in features
    return absent not in features and (_ALL_WORDS in features or absent in _OLD_WORDS)


def _known(revision: Revision) -> Revision:
    """The revision with a name that is the same, if there is one."""
    return next((known for known in (*REVISIONS.values(), *_UNLISTED) if not differing(known, revision)), revision)


_UNLISTED: Final = (as_of(_OLDEST_KNOWN), replace(as_of("6.6"), name="6.6.0"))
"""6.0 to 6.1.83, and 6.2; 6.6.0 to 6.6.2."""


def _named(revision: Revision) -> Revision:
    """The known revision that is the same; else with a name that says which it is like, and in what it is not."""
    known = _known(revision)
    if known is not revision:
        return known
    like = min(_newest_first(), key=lambda known: len(differing(known, revision)))
    others = differing(like, revision)
    whose = max(_newest_first(), key=lambda known: sum(getattr(known, a) == getattr(revision, a) for a in others))
    if others == ("order",):
        return replace(revision, name=f"{like.name} in {whose.name}'s order")
    return replace(revision, name=f"{like.name} with {whose.name}'s {', '.join(others).replace('_', ' ')}")


def _newest_first() -> list[Revision]:
    return [REVISIONS[name] for name in reversed(MAINLINE)]
