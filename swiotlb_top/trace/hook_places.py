"""Hooks in a header: as JSON objects, or as a text for people, which is all that the first recordings have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Final

from swiotlb_top.state import HookPlace, How

_FIELDS: Final = frozenset(field.name for field in fields(HookPlace))
_HOWS: Final = frozenset(how.value for how in How)
_PLACE: Final = re.compile(
    r"(?P<fentry>fentry|fexit|fentry\+fexit) (?P<by_fentry>\S+)"
    r"|(?P<kprobe>kprobe|kretprobe|kprobe\+kretprobe) (?P<by_kprobe>\S+)"
    r"|(?P<derived>derived)(?: from (?P<derived_from>\S+))?"
    r"|(?P<absent>absent): (?:needed|(?P<lost>.*))"
)
"""The text of a :class:`HookPlace`. Only this module parses it."""
_REFUSED: Final = " (refused: "


def as_object(place: HookPlace) -> dict[str, str]:
    """A place as a JSON object, without the fields that are empty."""
    return {name: value for name, value in (asdict(place) | {"how": place.how.value}).items() if value}


def of_object(said: Mapping[str, str]) -> HookPlace:
    """Undo :func:`as_object`. :raises ValueError: the object is no place of a hook."""
    if "name" not in said or said.get("how") not in _HOWS:
        raise ValueError("hook_places holds something else than places of hooks")
    known = {name: value for name, value in said.items() if name in _FIELDS}
    return HookPlace(**{**known, "how": How(said["how"])})  # type: ignore[arg-type]


def of_words(name: str, words: str) -> HookPlace:
    """A place from its text, as in the first recordings. :raises ValueError: the text is no place of a hook."""
    where, refused, refusal = words.partition(_REFUSED)
    found = _PLACE.fullmatch(where)
    if found is None or (refused and not refusal.endswith(")")):
        raise ValueError(f"hooks holds something else than places of hooks: {words!r}")
    said = found.groupdict(default="")
    return HookPlace(
        name,
        next(how for how in How if said[how.value]),
        probes=said["fentry"] or said["kprobe"],
        symbol=said["by_fentry"] or said["by_kprobe"],
        derived_from=said["derived_from"],
        lost=said["lost"],
        refusal=refusal.removesuffix(")"),
    )
