"""What would have fitted where a request got no slots: the largest mapping of whole pages, if asking is affordable."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import REVISIONS, Allocator, Limits, Pool, Request
from swiotlb_top.allocator.fitting import largest_fitting_bytes

KIB = 1024
START = 1 << 28
PLENTY = 10_000


def with_used(used: range) -> Allocator:
    pool = Pool(1, START, 128, 1)
    for slot in used:
        pool.take(slot, Request(0, 1, 0, Limits()), 7)
    return Allocator(REVISIONS["6.10"], [pool], 128, 1, can_grow=False, dynamic=False)


def of(size_bytes: int) -> Request:
    return Request(0x5000, size_bytes, 0, Limits())


@pytest.mark.parametrize(
    ("used", "fits_bytes"),
    [(range(1), 252 * KIB), (range(64), 128 * KIB), (range(125), 4 * KIB), (range(127), 0), (range(128), 0)],
)
def test_it_is_the_largest_that_there_is_room_for(used: range, fits_bytes: int) -> None:
    assert largest_fitting_bytes(with_used(used), 0, of(256 * KIB), 256 * KIB, PLENTY)[0] == fits_bytes


def test_nothing_as_large_as_what_failed_is_tried() -> None:
    assert largest_fitting_bytes(with_used(range(1)), 0, of(8 * KIB), 8 * KIB, PLENTY)[0] == 4 * KIB
    assert largest_fitting_bytes(with_used(range(1)), 0, of(4 * KIB), 4 * KIB, PLENTY)[0] == 0


def test_what_is_asked_is_taken_from_the_patience_that_was_given_and_not_from_the_model_s() -> None:
    model = with_used(range(64))
    before = model.patience
    fits_bytes, left = largest_fitting_bytes(model, 0, of(256 * KIB), 256 * KIB, PLENTY)
    assert fits_bytes == 128 * KIB
    assert 0 < left < PLENTY
    assert model.patience == before


def test_where_patience_does_not_suffice_it_is_not_known() -> None:
    model = with_used(range(64))
    assert largest_fitting_bytes(model, 0, of(256 * KIB), 256 * KIB, 1) == (None, 0)
    assert largest_fitting_bytes(model, 0, of(256 * KIB), 256 * KIB, PLENTY)[0] == 128 * KIB
