"""What a key of the web configuration may be: of what the file says, what the exporter goes by.

Each of these takes a value as YAML gave it and raises :class:`RefusedError`, which says what is wrong with it.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)({'|'.join(_UNITS_S)})", re.ASCII)
_LONGEST_DURATION: Final = 64
"""Characters."""
_MOST: Final = 1_000_000_000


class RefusedError(ValueError):
    """Why a value is not taken, in half a sentence."""


def text(said: Any) -> str:
    """A string; a number is what it is written as."""
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        raise RefusedError("needs a text")
    return str(said)


def truth(said: Any) -> bool:
    """True or false."""
    if not isinstance(said, bool):
        raise RefusedError(f"{reprlib.repr(said):.40} is neither true nor false")
    return said


def whole_number(said: Any) -> int:
    """A number that counts something."""
    if isinstance(said, bool) or not isinstance(said, int) or not 0 <= said <= _MOST:
        raise RefusedError(f"{reprlib.repr(said):.40} is no whole number from 0 to {_MOST}")
    return said


def duration_s(said: Any) -> float:
    """A time as Go writes it, ``1s``, ``500ms`` or ``1m30s``, or 0; in seconds."""
    if said in (0, "0") and not isinstance(said, bool):
        return 0.0
    written = said if isinstance(said, str) and len(said) <= _LONGEST_DURATION else ""
    parts = _PART.findall(written)
    if not parts or "".join(map("".join, parts)) != written:
        raise RefusedError(f"{reprlib.repr(said):.40} is no time: give one as 1s, 500ms or 1m30s, or 0")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def one_of(known: Mapping[str, T], cannot: Mapping[str, str] | None = None) -> Callable[[Any], T]:
    """One of the names ``known``; of those in ``cannot`` the reason is said why they are not taken here."""

    def named(said: Any) -> T:
        name = text(said)
        if cannot and name in cannot:
            raise RefusedError(f"{name}: {cannot[name]}")
        if name not in known:
            raise RefusedError(f"{name!r:.60} is not one of {', '.join(known)}")
        return known[name]

    return named


def several(one: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """A list of what ``one`` takes."""

    def all_of_them(said: Any) -> tuple[T, ...]:
        if not isinstance(said, list):
            raise RefusedError("needs a list")
        return tuple(one(item) for item in said)

    return all_of_them


def table(known: Mapping[str, Callable[[Any], Any]], what: str) -> Callable[[Any], dict[str, Any]]:
    """Keys of ``known``, and what is made of their values; a key without a value is left out.

    :param what: what this is, for a key that is not known.
    """

    def each(said: Any) -> dict[str, Any]:
        if not isinstance(said, dict):
            raise RefusedError("is no table of keys and values")
        unknown = sorted(_shown(key) for key in said if key not in known)
        if unknown:
            raise RefusedError(f"has {', '.join(unknown):.100}; {what} is one of {', '.join(known)}")
        return {key: _within(key, known[key], value) for key, value in said.items() if value is not None}

    return each


def _within(key: str, convert: Callable[[Any], T], value: Any) -> T:
    try:
        return convert(value)
    except RefusedError as error:
        raise RefusedError(f"{_shown(key)}: {error}") from None


def _shown(key: object) -> str:
    return "".join(char if char.isprintable() else " " for char in str(key))
