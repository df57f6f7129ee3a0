"""A sound kernel is never blamed: what the reference does, and tells of as the probes would, its own judge agrees with.

Over every revision, every way to see it and every kind of pool, and over every two of the things a mapping may ask for.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import Final

from tests.support.sound_kernel_settings import ALIGN_MASKS, BOUNDARIES, MIN_ALIGN_MASKS, OFFSETS, SIZES_BYTES, Asked
from tests.support.sweep import SETTINGS, judged

LEAST_JUDGED: Final = 30_000


def test_what_the_reference_does_its_judge_agrees_with() -> None:
    compared, asked = 0, set[Asked]()
    for seed, setting in enumerate(SETTINGS):
        result = judged(setting, seed)
        assert not result.wrong
        compared += result.compared
        asked |= result.asked
    print(f"{compared} operations of {len(SETTINGS)} sound kernels were judged")
    assert compared > LEAST_JUDGED
    assert {pair for asking in asked for pair in pairs(asking)} == {
        pair
        for values in product({*ALIGN_MASKS}, MIN_ALIGN_MASKS, BOUNDARIES, OFFSETS, SIZES_BYTES)
        for pair in pairs(Asked(*values))
    }


def pairs(asked: Asked) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Each two of the things that are varied, with their values."""
    return list(combinations(zip(asked._fields, asked, strict=True), 2))
