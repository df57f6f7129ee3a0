"""Two recordings of the same load are said to differ no more often than the level of the test claims.

A load is drawn anew, or the calls of a real recording are dealt out to two, by chance that is the same each time. How
often a metric may be said to differ then is bounded by the binomial distribution: more happens once in a million runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache
from math import comb
from pathlib import Path
from random import Random

import pytest

from swiotlb_top.compare.measured import PARTS, Measured, measure
from swiotlb_top.compare.metrics import LEVEL, METRICS, compare
from swiotlb_top.recording.books import Began, Ended, Happening, Refused
from swiotlb_top.recording.opened import Recording
from tests.support.doctoring import FOUR_CPUS, STALL

TRACES = STALL.parent
PAIRS = 80
LEVELS = (LEVEL, 0.05, 0.2)
UNLIKELY = 1e-6
SECONDS = 20
REAL = [FOUR_CPUS, STALL, TRACES / "unaligned.swtrace"]


def most(pairs: int, level: float) -> int:
    """More false alarms than this are unlikely if each pair gives one with a probability of ``level``."""
    tail, number = 1.0, 0
    while tail > UNLIKELY:
        tail -= comb(pairs, number) * level**number * (1 - level) ** (pairs - number)
        number += 1
    return number


def alarms(pairs: Iterator[tuple[Measured, Measured]]) -> tuple[Counter[tuple[str, float]], Counter[str]]:
    """By metric and level, in how many pairs it is said to differ; and by metric, in how many it was compared."""
    differs: Counter[tuple[str, float]] = Counter()
    compared: Counter[str] = Counter()
    for one, other in pairs:
        for metric in METRICS:
            p = compare(metric, one, other).p
            if p is not None:
                compared[metric.key] += 1
                differs.update((metric.key, level) for level in LEVELS if p < level)
    return differs, compared


def check(pairs: Iterator[tuple[Measured, Measured]]) -> None:
    differs, compared = alarms(pairs)
    assert len(compared) >= 3
    for (key, level), times in differs.items():
        assert times <= most(compared[key], level), f"{key}: {times} of {compared[key]} below {level}"


# ---- loads that are drawn ------------------------------------------------------------


def drawn(random: Random, slower: float = 1.0, seconds: int = SECONDS) -> Measured:
    """A quiet load: calls come independently, one in thirty is refused, and latencies have a long tail."""
    length_ns = seconds * 1_000_000_000
    found = replace(measured_once(STALL).found, begin_ns=0, last_ns=length_ns, lost=0, ended=None)
    measured = Measured(STALL, "6.12", False, found)
    time_ns = 0.0
    while (time_ns := time_ns + random.expovariate(100) * 1e9) < length_ns:
        part = measured.parts[int(time_ns) * PARTS // length_ns]
        if random.random() < 1 / 30:
            part.causes["full"] += 1
            measured.causes["full"] += 1
            measured.longest_free_slots.add(random.randrange(128))
            continue
        part.maps += 1
        measured.maps += 1
        measured.latencies_ns.add(slower * random.lognormvariate(8, 1))
        measured.holds_ns.add(random.lognormvariate(12, 2))
    return measured


@cache
def measured_once(path: Path) -> Measured:
    return measure(path)


def test_two_loads_that_are_drawn_alike_differ_no_more_often_than_claimed() -> None:
    random = Random(1)  # noqa: S311
    check((drawn(random), drawn(random)) for _ in range(PAIRS))


def test_nor_if_one_of_them_was_recorded_for_longer() -> None:
    random = Random(4)  # noqa: S311
    check((drawn(random), drawn(random, seconds=5 * SECONDS // 2)) for _ in range(PAIRS // 2))


def test_the_same_would_notice_a_load_that_is_slower() -> None:
    """Else the bound above would be none: here each pair differs, by a fifth in one metric."""
    random = Random(2)  # noqa: S311
    differs, compared = alarms((drawn(random), drawn(random, slower=1.2)) for _ in range(10))
    assert differs["map_p50_ns", LEVEL] > most(compared["map_p50_ns"], LEVEL)


# ---- real recordings, dealt out to two -----------------------------------------------


@cache
def happenings(path: Path) -> tuple[Happening, ...]:
    return tuple(Recording(path).happenings(judged=True))


def dealt(path: Path, random: Random) -> tuple[Measured, Measured]:
    """A recording in two: of each part of its time one half is in the one, and the other half in the other."""
    whole = measured_once(path)
    empty = Measured(path, whole.kernel_release, whole.is_partial, whole.found)
    sides = deepcopy(empty), deepcopy(empty)
    turned = [random.getrandbits(1) for _ in range(PARTS)]
    for happening in happenings(path):
        if isinstance(happening, Began | Ended | Refused):
            half = _time_ns(happening, whole.found.begin_ns) * 2 * PARTS // whole.found.length_ns
            half = min(max(half, 0), 2 * PARTS - 1)
            sides[turned[half // 2] ^ (half & 1)].take(happening)
    return sides


def _time_ns(happening: Began | Ended | Refused, begin_ns: int) -> int:
    """When it happened, from the beginning of the recording."""
    if isinstance(happening, Began):
        return happening.call.exit_ns - begin_ns
    return (happening.mapping.unmap_ns or happening.mapping.map_ns or begin_ns) - begin_ns


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_real_recording_dealt_out_by_chance_differs_from_itself_no_more_often(path: Path) -> None:
    random = Random(3)  # noqa: S311
    check(dealt(path, random) for _ in range(PAIRS // 4))
