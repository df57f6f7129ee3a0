"""How far the reference was tried against kernels of each revision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiotlb_top.allocator import REVISIONS
from swiotlb_top.allocator.tried import Tried, tried


@pytest.mark.parametrize("name", REVISIONS)
def test_each_revision_that_is_listed_was_tried(name: str) -> None:
    assert tried(REVISIONS[name]) in (Tried.BOOTED, Tried.COMPILED)


def test_one_that_nobody_has_seen_was_not() -> None:
    assert tried(replace(REVISIONS["6.10"], name="6.10 with another order")) is Tried.NOTHING
