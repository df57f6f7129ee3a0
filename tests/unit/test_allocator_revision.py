"""Which revision a kernel has is told by its features, not by its version."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator.revision import REVISIONS, revision_for
from tests.kernels import KERNELS, layout_of


@pytest.mark.parametrize("kernel", KERNELS)
def test_recorded_kernels_have_the_revision_of_6_12(kernel: str) -> None:
    assert revision_for(layout_of(kernel).features) is REVISIONS["6.12"]


@pytest.mark.parametrize("features", [(), ("dynamic", "total_used", "transient_nslabs")])
def test_a_kernel_from_before_pad_slots_has_none_that_is_known(features: tuple[str, ...]) -> None:
    assert revision_for(features) is None


def test_revisions_are_listed_by_their_names() -> None:
    assert {name: revision.name for name, revision in REVISIONS.items()} == {name: name for name in REVISIONS}
