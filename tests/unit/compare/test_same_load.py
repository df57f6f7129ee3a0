"""The same load, recorded eight times in a row in the lab on a machine that did other work: what is said to differ.

Debian's 6.12 with dynamic pools, 4,001 maps of a disk each time, instructions counted. ``same_load.json`` has what each
batch came to. How long buffers are held varies slowly there: some neighbouring batches are twice as long as others.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Final

import pytest

from swiotlb_top.compare.metrics import LEVEL
from swiotlb_top.compare.ranks import p_of_series, p_value

MEASURED: Final[dict[str, list[list[float]]]] = json.loads(Path(__file__).with_name("same_load.json").read_text())
PAIRS: Final = 28


@pytest.mark.parametrize(
    ("metric", "by_numbers", "by_series"), [("hold_p50_ns", 16, 4), ("hold_p99_ns", 1, 0), ("maps_per_second", 8, 0)]
)
def test_of_the_same_load_little_differs_if_neighbours_count_less(metric: str, by_numbers: int, by_series: int) -> None:
    pairs = [*combinations(MEASURED[metric], 2)]
    assert len(pairs) == PAIRS
    assert sum(p_value(*pair) < LEVEL for pair in pairs) == by_numbers
    assert sum(p_of_series(*pair) < LEVEL for pair in pairs) == by_series
