"""``swiotlb-top revisions``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from enum import Enum

import click

from swiotlb_top.allocator import DIFFERENCES, REVISIONS, Choice, choose
from swiotlb_top.allocator.revision import ASPECTS, rows_of
from swiotlb_top.cli.options import examples, json_option
from swiotlb_top.errors import CannotError, Exit

EPILOG = examples(
    "swiotlb-top revisions",
    "swiotlb-top revisions --json | jq .kernel.revision      which one does this kernel have?",
)


@click.command(epilog=EPILOG)
@json_option
def revisions(as_json: bool) -> Exit:
    """List the revisions of swiotlb that are known, and say which one this kernel has, and why.

    Exit status: 0, also where it cannot be told which one this kernel has.
    """
    from swiotlb_top.kernel import layout

    release = os.uname().release
    choice, unknown = None, ""
    try:
        choice = choose(layout.load().features, release)
    except CannotError as error:
        unknown = str(error)
    if as_json:
        click.echo(json.dumps({**_known_as_json(), "kernel": _kernel_as_json(release, choice, unknown)}))
    else:
        click.echo("\n".join([*_known_as_text(), "", *_kernel_as_text(release, choice, unknown)]))
    return Exit.OK


def _known_as_text() -> Iterator[str]:
    """What differs, an aspect after the other, and what is known by a name."""
    for aspect in ASPECTS:
        yield _words(aspect)
        for row in rows_of(aspect):
            yield f"  {row.since:8} {row.commit or '-':13} {row.sentence}"
    yield ""
    yield f"known by name: {', '.join(REVISIONS)}"


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
        return {"release": release, "revision": None, "note": unknown, "reasons": {}}
    reasons = {reason.aspect: {"since": reason.row.since, "why": reason.why} for reason in choice.reasons}
    return {"release": release, "revision": choice.revision.name, "note": choice.note, "reasons": reasons}


def _words(aspect: str) -> str:
    return aspect.replace("_", " ")


def _plain(value: object) -> object:
    """A row's value for who cannot call it."""
    if isinstance(value, Enum):
        return value.value
    return getattr(value, "__name__", value)
