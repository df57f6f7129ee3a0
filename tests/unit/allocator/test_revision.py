"""What differs between revisions, and which one a kernel has: told by its features, last by its release."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest

from swiotlb_top.allocator import DIFFERENCES, REVISIONS, Limits, Request, Revision, as_of, choose
from swiotlb_top.allocator.alignment import (
    align_by_stride_and_device,
    align_like_buffer,
    align_slot_address,
)
from swiotlb_top.allocator.differences import SEED, release_key
from swiotlb_top.allocator.order import each_offset_every_pool, each_pool_every_area
from swiotlb_top.allocator.revision import ASPECTS, MAINLINE, NOT_JUDGED, differing, judged_apart, rows_of
from swiotlb_top.errors import CannotError
from tests.kernels import layout_of

OLD_WORDS = ("dynamic", "total_used", "transient_nslabs", "pad_slots")
"""All that recordings had before there were more."""
DYNAMIC_6_6 = ("areas", "pools", "dynamic", "total_used", "alloc_size")
DYNAMIC_7_3 = ("areas", "pools", *OLD_WORDS, "attrs_pointer", "dyn_free_work", "cc_shared", "search_area")


# ---- the table ---------------------------------------------------------------


def test_a_revision_is_its_aspects_and_nothing_else() -> None:
    assert {field.name for field in fields(Revision)} == {"name", "static_order", *ASPECTS}


@pytest.mark.parametrize("aspect", ASPECTS)
def test_rows_of_an_aspect_are_in_the_order_of_releases_and_each_changes_something(aspect: str) -> None:
    rows = rows_of(aspect)
    keys = [release_key(row.since) for row in rows]
    assert None not in keys
    assert keys == sorted(keys, key=lambda key: key or ())
    assert all(row.value != after.value for row, after in pairwise(rows))


def test_every_row_names_its_commit() -> None:
    for row in DIFFERENCES:
        assert re.fullmatch(r"[0-9a-f]{12}", row.commit)
        assert re.match(r"(dma: |dma/)?swiotlb: ", row.subject)
        assert row.sentence
        assert row.sentence[0].islower()


def test_the_names_are_these() -> None:
    assert set(REVISIONS) == {"seed-v4", "6.1", "6.6", "6.8", "6.9", "6.10", "7.3", "6.10 in 6.6's order"}
    assert {name: revision.name for name, revision in REVISIONS.items()} == {name: name for name in REVISIONS}


@pytest.mark.parametrize(
    ("older", "newer", "changed"),
    [
        ("6.1", SEED, "alignment hiwater bounds_list"),
        (SEED, "6.6", "largest_nslabs used"),
        ("6.6", "6.8", "order refuses_oversize"),
        ("6.8", "6.9", "alignment pads_slots aligns_alloc checks_page"),
        ("6.9", "6.10", "rounds_size"),
        ("6.10", "7.3", "used hiwater frees_misfit_at_once checks_kind"),
        ("6.10", "6.10 in 6.6's order", "order"),
    ],
)
def test_from_one_to_the_next_this_changed(older: str, newer: str, changed: str) -> None:
    assert differing(REVISIONS[older], REVISIONS[newer]) == tuple(changed.split())


@pytest.mark.parametrize(
    ("release", "order", "alignment"),
    [
        ("6.0", each_pool_every_area, align_by_stride_and_device),
        ("6.1.84", each_pool_every_area, align_by_stride_and_device),
        ("6.2", each_pool_every_area, align_by_stride_and_device),
        ("6.3", each_pool_every_area, align_like_buffer),
        ("6.7.12", each_pool_every_area, align_like_buffer),
        ("6.8-rc1", each_offset_every_pool, align_like_buffer),
        ("6.18.5", each_offset_every_pool, align_slot_address),
    ],
)
def test_between_the_named_ones_a_release_of_mainline_has_what_was_there(
    release: str, order: object, alignment: object
) -> None:
    revision = as_of(release)
    assert (revision.order, revision.alignment) == (order, alignment)


def test_what_is_no_release_has_no_revision() -> None:
    with pytest.raises(ValueError, match="'mainline' is no release"):
        as_of("mainline")


# ---- which one a kernel has --------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "release", "name"),
    [
        ("dynamic", "6.12.117", "6.10"),
        ("debian", "6.12.117+deb12-amd64", "6.10"),
        ("micro-vm", "6.18.5", "6.10"),
        ("debian-6.1", "6.1.0-42-amd64", "6.1"),
        ("debian-7.3", "7.3.6+deb13-amd64", "7.3"),
    ],
)
def test_recorded_kernels_have_the_revision_their_source_has(kernel: str, release: str, name: str) -> None:
    assert choose(layout_of(kernel).features, release).revision is REVISIONS[name]


@pytest.mark.parametrize("features", [OLD_WORDS, OLD_WORDS[1:]])
def test_old_recordings_which_know_few_words_are_judged_by_6_10(features: tuple[str, ...]) -> None:
    assert choose(features, "6.12.117+deb12-amd64").revision is REVISIONS["6.10"]


@pytest.mark.parametrize(
    ("features", "release", "name"),
    [
        (("areas", "alloc_size"), "6.1.0-40-amd64", "6.1"),
        (DYNAMIC_6_6, "6.6.3", "6.6"),
        ((*DYNAMIC_6_6, "pool_find_slots"), "6.6.3", "6.6"),
        ((*DYNAMIC_6_6, "search_area"), "6.8.0", "6.8"),
        ((*DYNAMIC_6_6, "search_area", "pad_slots"), "6.9.3", "6.9"),
        (("areas", "pools", *OLD_WORDS, "search_area"), "6.10.0", "6.10"),
        (("areas", "pools", *OLD_WORDS, "search_area", "pool_find_slots"), "6.12.117", "6.10 in 6.6's order"),
        (DYNAMIC_7_3, "7.3.0", "7.3"),
        (DYNAMIC_7_3, "7.4.0", "7.3"),
    ],
)
def test_a_kernel_has_the_revision_its_features_show(features: tuple[str, ...], release: str, name: str) -> None:
    assert choose(features, release).revision is REVISIONS[name]


def test_before_663_the_free_list_does_not_end_with_the_pool() -> None:
    choice = choose((*DYNAMIC_6_6, "pool_find_slots"), "6.6.2")
    assert (choice.revision.name, choice.note) == ("6.6.0", "")
    assert differing(choice.revision, REVISIONS["6.6"]) == ("bounds_list",)


def test_a_stable_kernel_has_what_was_backported_and_is_named_by_its_tree() -> None:
    """6.6.y of today: the search order and sizes of 6.6, 6.9's alignment and padding."""
    choice = choose((*DYNAMIC_6_6, "pad_slots", "pool_find_slots"), "6.6.100")
    assert choice.revision.name == "stable 6.6 since 6.6.35"
    assert choice.revision.order is each_pool_every_area
    assert choice.revision.alignment is align_slot_address
    assert (choice.revision.pads_slots, choice.revision.rounds_size) == (True, False)


def test_where_only_the_order_is_anothers_the_name_says_so() -> None:
    features = [word for word in (*DYNAMIC_7_3, "pool_find_slots") if word != "search_area"]
    assert choose(features, "7.3.0").revision.name == "7.3 in 6.6's order"


def test_each_aspect_has_its_reason_and_the_release_is_the_last() -> None:
    reasons = {reason.aspect: reason.why for reason in choose((*DYNAMIC_6_6, "pool_find_slots"), "6.6.0").reasons}
    assert tuple(reasons) == ASPECTS
    assert reasons["order"] == "shown by pool_find_slots"
    assert reasons["alignment"] == "by release"
    assert reasons["largest_nslabs"] == "shown by pools"
    assert reasons["pads_slots"] == "shown by no pad_slots"
    assert reasons["rounds_size"] == "shown by alloc_size"
    assert reasons["refuses_oversize"] == "by release"


def test_features_win_over_the_release() -> None:
    assert choose((*DYNAMIC_6_6, "search_area"), "6.6.0").revision.order is each_offset_every_pool
    assert choose((*DYNAMIC_6_6, "pool_find_slots"), "6.8.0").revision.order is each_pool_every_area


def test_that_a_word_is_missing_shows_something_only_where_it_would_be_there() -> None:
    """A recording from before "alloc_size" was known says nothing about it."""
    assert choose(OLD_WORDS, "6.9.0").revision.rounds_size is False
    assert choose(("areas", "pools", *OLD_WORDS), "6.9.0").revision.rounds_size is True


@pytest.mark.parametrize(
    ("release", "note"),
    [
        ("9.1.0", "9.1.0 is newer than all that is known here: taken for 7.3 where no feature decides"),
        ("next", "'next' is no release: taken for the newest that is known, 7.3"),
        ("7.3.99", ""),
    ],
)
def test_a_kernel_of_the_future_is_taken_for_the_newest_and_that_is_said(release: str, note: str) -> None:
    choice = choose(DYNAMIC_7_3, release)
    assert choice.revision is REVISIONS["7.3"]
    assert choice.note == note


def test_a_kernel_from_before_areas_is_not_known() -> None:
    with pytest.raises(CannotError, match=r"swiotlb of 5\.15\.0: it is older than 6\.0"):
        choose((), "5.15.0")
    assert choose(("areas",), "5.15.0-with-backports").revision.order is each_pool_every_area


# ---- what the aspects mean ---------------------------------------------------

STRICT = Limits(min_align_mask=0xFFFF)


@pytest.mark.parametrize(
    ("name", "size", "pad_slots", "address"),
    [
        ("6.1", 8192 + 0x345, 0, 0x345),
        ("6.8", 8192 + 0x345, 0, 0x345),
        ("6.9", 8192 + 0x1345, 2, 0x1345),
        ("6.10", 16384, 2, 0x1345),
        ("7.3", 16384, 2, 0x1345),
    ],
)
def test_a_buffer_in_the_middle_of_an_aligned_block_is_padded_and_rounded_like_this(
    name: str, size: int, pad_slots: int, address: int
) -> None:
    """5000 bytes at 0x1345 of a block, for an IOMMU that maps 8 KiB at a time."""
    revision = REVISIONS[name]
    request = revision.request(5000, 0x7_1345, 0x1FFF, STRICT)
    assert request == Request(0x7_1345, size, 0x1FFF, STRICT)
    assert revision.pad_slots(request) == pad_slots
    assert revision.tlb_addr(0x100_0000, 4, request) == 0x100_0000 + 4 * 2048 + address


def test_who_maps_says_how_much_up_to_6_9_only() -> None:
    assert REVISIONS["6.9"].request(5000, 0x7_1000, 0, Limits(), 12288).alloc_size_bytes == 12288
    with pytest.raises(ValueError, match=r"of 6\.10 has no alloc_size"):
        REVISIONS["6.10"].request(5000, 0x7_1000, 0, Limits(), 12288)


@pytest.mark.parametrize(("name", "refused"), [("6.6", False), ("6.8", True)])
def test_a_dynamic_kernel_refuses_what_is_too_large_since_6_8(name: str, refused: bool) -> None:
    assert REVISIONS[name].refuses(Request(0x5000, (256 << 10) + 1, 0, Limits())) is refused
    assert not REVISIONS[name].refuses(Request(0x5000, 256 << 10, 0, Limits()))


def test_growth_asks_for_what_the_page_allocator_can_have_since_6_6() -> None:
    assert list(REVISIONS[SEED].grow_sizes(8192, 8)) == [(8192, 8), (4096, 8), (2048, 8), (1024, 8), (512, 4)]
    assert list(REVISIONS["6.6"].grow_sizes(8192, 8)) == [(2048, 8), (1024, 8), (512, 4)]


@pytest.mark.parametrize(("size", "mask"), [(1, 0xFFF), (4096, 0xFFF), (4097, 0x1FFF), (9000, 0x3FFF)])
def test_pages_are_handed_out_aligned_to_their_size_since_6_9(size: int, mask: int) -> None:
    assert REVISIONS["6.8"].alloc_align_mask(size) == 0
    assert REVISIONS["6.9"].alloc_align_mask(size) == mask


def test_the_mainline_ones_are_listed_in_order() -> None:
    keys = [release_key(name) or () for name in MAINLINE]
    assert keys == sorted(keys)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_the_judge_tells_revisions_apart_by_what_it_asks_for_alone(aspect: str) -> None:
    older = REVISIONS["6.10"]
    another: Any = object()
    newer = replace(older, **{aspect: another})
    assert differing(older, newer) == (aspect,)
    assert judged_apart(older, newer) == (() if aspect in NOT_JUDGED else (aspect,))
