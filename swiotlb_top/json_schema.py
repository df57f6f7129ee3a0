"""The version that every JSON object of a command's output begins with; docs/json.md tells of each key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SCHEMA: Final = 1
"""Counts up when a key goes, or means something else; not when one is added."""


def versioned(found: Mapping[str, object]) -> dict[str, object]:
    """The object, with its version."""
    return {"schema": SCHEMA, **found}
