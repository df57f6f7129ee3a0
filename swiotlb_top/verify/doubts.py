"""Why the judge cannot tell whether an operation agrees."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Doubt(Enum):
    """A reason why operations stay inconclusive, with the words for it."""

    BEFORE_STATE = "before the first state"
    AFTER_GAP = "after lost events"
    DURING_STATE = "while the state was read"
    OLDER_POOL = "pool from before the recording"
    SEVERAL_POOLS = "address that two pools had, and a release whose beginning was not seen"
    IMPOSSIBLE_POOL = "pool that cannot be"
    NEVER_INTRODUCED = "device never introduced"
    NO_SIZE = "request for no bytes"
    NO_RESTRICTED = "page given back to a pool that hands out none"
    UNSEEN_ENTRY = "while a call may have been under way that was not seen to begin"
    LATE = "while a call was under way for very long"
    NOT_PLACED = "while a call was under way that ended after what is judged"
    NOT_RETURNED = "while calls may have been under way that are not in the recording"
    NOT_CERTAIN = "until every call is known that was under way"
    TOO_MANY_UNCERTAIN = "too many disagreements to keep that are not certain"
    TOO_MANY_AREAS = "too many areas to search"
    TOO_MANY_ORDERS = "too many orders to try"
    TOO_MANY_FAULTS = "overlaps too many faults"


NOT_SAMPLED: Final = frozenset({Doubt.BEFORE_STATE, Doubt.AFTER_GAP, Doubt.DURING_STATE, Doubt.OLDER_POOL})
"""Why operations around the beginning of a stream cannot be judged: for who looks in at times only, they are not
doubtful but not looked at."""
