"""docs/glossary.md, read: each entry with its two sentences and the labels that stand for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tests.support.screen_docs import DOCS

PAGE: Final = DOCS / "glossary.md"


@dataclass(frozen=True)
class Entry:
    """One term."""

    term: str
    sentences: tuple[str, ...]
    labels: tuple[str, ...]
    """Words in which the screen or a report shows it."""


def entries() -> list[Entry]:
    """All terms, in the order of the page."""
    return [_entry(part) for part in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]]


def explained() -> set[str]:
    """Every term and every label, in small letters."""
    return {word.casefold() for entry in entries() for word in (entry.term, *entry.labels)}


def _entry(part: str) -> Entry:
    term, text, *shown = re.split(r"\n\n", re.split(r"^## ", part, flags=re.MULTILINE)[0].strip())
    sentences = re.split(r"(?<=[.])\s+(?=[A-Z`_a-z])", text)
    labels = re.findall(r"`([^`]+)`", " ".join(shown))
    return Entry(term, tuple(sentences), tuple(labels))
