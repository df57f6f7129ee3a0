"""What a recording cannot know, what is taken instead, and what that does to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from swiotlb_top.sizing.retries import RETRY_NS, Bracket


class Topic(Enum):
    """What an assumption is about."""

    OPEN_LOOP = "open_loop"
    QUEUE = "queue"
    RETRIES = "retries"
    LIFETIMES = "lifetimes"
    BEFORE = "before"
    LOST = "lost"
    DAMAGE = "damage"
    ELSEWHERE = "elsewhere"
    LIMITS = "limits"
    UNPAIRED = "unpaired"
    REVISION = "revision"
    GROWTH = "growth"
    ONE_ORDER = "one_order"


@dataclass(frozen=True, slots=True)
class Assumption:
    """One thing that is taken to be so."""

    topic: Topic
    sentence: str
    effect: str
    """On the answer, in words."""
    may_need_more: bool
    """Whether a pool that serves the recorded demand may, for this, be too small all the same."""

    def as_json(self) -> dict[str, object]:
        """Flat, for machines."""
        return {
            "topic": self.topic.value,
            "sentence": self.sentence,
            "effect": self.effect,
            "may_need_more": self.may_need_more,
        }


def assumptions(count: Mapping[str, int], failures: int, bracket: Bracket) -> tuple[Assumption, ...]:
    """Those of one recording.

    :param count: how often the reader met what it could not know.
    :param failures: maps that failed, each attempt counted.
    """
    made = [_open_loop(failures, bracket), *_of_failures(failures, bracket)]
    for topic, key, sentence, effect, may_need_more in _COUNTED:
        if count.get(key, 0):
            made.append(Assumption(topic, sentence.format(count[key]), effect, may_need_more))
    return tuple(made)


def doubtful_revision(taken: str, others: Sequence[str]) -> Assumption:
    """Of a kernel that does not show which revision it has.

    :param others: names of those that it may have instead, as far as they are known.
    """
    instead = f"; it may be {', '.join(others)}" if others else ""
    return Assumption(
        Topic.REVISION,
        f"the recording does not show for certain which swiotlb its kernel has: {taken} is assumed{instead}",
        "another may need more: --revision asks for it",
        True,
    )


def queue(device: str, requests: int) -> Assumption:
    """Of a device whose maps failed, and whose disks' queues hold so many requests."""
    return Assumption(
        Topic.QUEUE,
        f"the queues of {device} held {requests} requests, as sysfs had it: no more can be in flight to its disks, "
        "however large the pool",
        "that bounds what would have been asked for as well, in requests; how many slots each takes is not known",
        False,
    )


def growth(wait_ns: int) -> Assumption:
    """Of simulated growth."""
    return Assumption(
        Topic.GROWTH,
        f"memory for pools is always had, for a grown one {wait_ns / 1e6:.3g} ms after the first need found no slots",
        "without memory, needs fail that are called served where pools are added or transient",
        False,
    )


def _open_loop(failures: int, bracket: Bracket) -> Assumption:
    if not failures:
        return Assumption(
            Topic.OPEN_LOOP,
            "the recorded load is the load: what never ran is not in it",
            "nothing was refused, so that swiotlb held nothing back; a busier hour needs a recording of its own",
            False,
        )
    return Assumption(
        Topic.OPEN_LOOP,
        "what waited behind a map that failed was never asked for, and is not in the recording",
        "the answer is a least: record again at that size, and ask again",
        True,
    )


def _of_failures(failures: int, bracket: Bracket) -> list[Assumption]:
    if not failures:
        return []
    needs = bracket.failed_needs
    made = [
        Assumption(
            Topic.RETRIES,
            f"maps of one buffer no more than {RETRY_NS / 1e9:g} s apart, of which all but the last failed or were "
            f"given up, are one need: {failures} failed maps come of needs: {needs}",
            "each is asked for once, when it was first tried",
            False,
        )
    ]
    if bracket.never_had:
        held = "to the end of the recording" if bracket.endless else "as long as any of its device's"
        made.append(
            Assumption(
                Topic.LIFETIMES,
                f"of these, {bracket.never_had} never had slots: each is taken to live as short as any mapping of its "
                f"device at least, and {held} at most",
                "a size fails for certain only if it does with the shortest, and holds only with the longest",
                False,
            )
        )
    return made


ONE_ORDER: Final = Assumption(
    Topic.ONE_ORDER,
    "what is simulated is one order of the calls, in a pool whose searches begin at its first slot",
    "in another order a size that held may fail, but not one that is certain",
    False,
)

_COUNTED: Final[tuple[tuple[Topic, str, str, str, bool], ...]] = (
    (
        Topic.BEFORE, "before", "{} mappings were there before the recording: they are taken to begin with it",
        "none on the peak; where they would lie in another pool is not known", False,
    ),
    (
        Topic.BEFORE, "unsettled", "{} states were read while they changed: what was mapped is not in the demand",
        "the answer is a least: record again", True,
    ),
    (
        Topic.LOST, "lost", "{} records or more were lost: what they told of is not in the demand",
        "the answer is a least: record again, without loss", True,
    ),
    (
        Topic.DAMAGE, "damage", "the recording cannot be read to its end: what comes later is not in the demand",
        "the answer is a least: copy it again, or record anew", True,
    ),
    (
        Topic.UNPAIRED, "unpaired", "{} releases are of mappings that were never seen",
        "their slots are missing in the demand, and the answer is a least", True,
    ),
    (
        Topic.LIMITS, "unknown", "{} maps are of devices that never said what limits they have: none are assumed",
        "with limits they might need a larger pool", True,
    ),
    (
        Topic.ELSEWHERE, "elsewhere", "{} calls were of devices with a pool of their own, which swiotlb= does not size",
        "none", False,
    ),
)  # fmt: skip
