"""How far the reference was tried against kernels of each revision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiotlb_top.allocator import REVISIONS, named
from swiotlb_top.allocator.differences import SEED
from swiotlb_top.allocator.trees import TREES
from swiotlb_top.allocator.tried import Tried, tried
from tests.lab.matrix import results


@pytest.mark.parametrize("name", REVISIONS)
def test_each_revision_that_is_listed_was_tried(name: str) -> None:
    assert tried(REVISIONS[name]) in (Tried.BOOTED, Tried.PATCHED, Tried.COMPILED)


def test_what_is_said_to_have_been_booted_is_green_in_the_support_matrix() -> None:
    judged_by = {one.judged_by for one in results.load().values() if one.verdict == "agree" and one.events}
    known = [named(name) for name in (*REVISIONS, *(tree.name for tree in TREES))]
    booted = {revision.name for revision in known if tried(revision) in (Tried.PATCHED, Tried.BOOTED)}
    # The seed has no row: it is a patch that was never merged.
    assert booted - {SEED} == judged_by


def test_one_that_nobody_has_seen_was_not() -> None:
    assert tried(replace(REVISIONS["6.10"], name="6.10 with another order")) is Tried.NOTHING
