"""What colours mean. Only the terminal's own sixteen, so that they suit its background, and never alone."""

from __future__ import annotations

import math
from typing import Final

from swiotlb_top.accounting.headline import NEARLY_FULL_PERCENT, Level
from swiotlb_top.accounting.journal import Weight

LABEL: Final = "bold"
DIM: Final = "dim"
GOOD: Final = "green"
WARN: Final = "black on yellow"
BAD: Final = "bold white on red"
BAR: Final = "reverse"
SELECTED: Final = "reverse"

OWNERS: Final = (
    ("cyan", "black"),
    ("magenta", "white"),
    ("blue", "white"),
    ("yellow", "black"),
    ("bright_cyan", "black"),
    ("bright_magenta", "black"),
    ("bright_blue", "black"),
    ("bright_yellow", "black"),
)
"""Colours of the devices that have slots, and in which a letter is seen on them. None is a colour of good or bad."""
OWNER_UNKNOWN: Final = ("bright_black", "white")

FILL_GOOD: Final = ""
FILL_WARN: Final = "yellow"
FILL_BAD: Final = "red"

HEADLINES: Final = {
    Level.UNSAFE: BAD,
    Level.DISAGREE: BAD,
    Level.FAILING: BAD,
    Level.NEARLY_FULL: WARN,
    Level.FAILED: WARN,
    Level.TROUBLE: WARN,
    Level.UNCLEAR: WARN,
    Level.DEMO: WARN,
    Level.SLOW: WARN,
    Level.WELL: GOOD,
}
VERDICTS: Final = {"agree": GOOD, "disagree": BAD, "inconclusive": WARN}
WEIGHTS: Final[dict[Weight, str]] = {"good": GOOD, "plain": "", "warn": WARN, "bad": BAD}

LEVELS: Final = ((NEARLY_FULL_PERCENT, FILL_BAD), (70.0, FILL_WARN), (-math.inf, FILL_GOOD))
"""From which percentage in use a gauge has which colour; below, that of text: a green one would contradict a failing
map."""
_WORDS: Final = {FILL_BAD: BAD, FILL_WARN: WARN, FILL_GOOD: ""}
"""The colours of words. Yellow ones are not seen on a light ground, so these bring their own."""


def level(percent: float) -> str:
    """The colour of a gauge for a percentage in use."""
    return next(style for least, style in LEVELS if percent >= least)


def words(percent: float) -> str:
    """The colour of the number beside it."""
    return _WORDS[level(percent)]
