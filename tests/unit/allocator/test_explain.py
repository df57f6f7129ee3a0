"""A failed mapping's cause: by example, and against a model that only counts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.allocator import (
    DMA_MAPPING_ERROR,
    REVISIONS,
    Allocator,
    Cause,
    Limits,
    Pages,
    Pool,
    Request,
    explain,
)
from swiotlb_top.allocator.explain import unreachable, wrong_kind
from swiotlb_top.allocator.revision import of_tree
from swiotlb_top.allocator.trees import STABLE_6_6_24

START = 1 << 28
V6_10 = REVISIONS["6.10"]
ANY = Limits()


def one_slot(pool: Pool, slot: int) -> None:
    pool.take(slot, Request(0, 1, 0, ANY), 7)


def static(nslabs: int, used: range | list[int], nareas: int = 1) -> Allocator:
    pool = Pool(1, START, nslabs, nareas)
    for slot in used:
        one_slot(pool, slot)
    return Allocator(V6_10, [pool], nslabs, nareas, can_grow=False, dynamic=False)


def why(allocator: Allocator, request: Request) -> tuple[Cause, str]:
    explanation = explain(allocator, 0, request)
    assert explanation is not None
    return explanation.cause, explanation.sentence


def slots(count: int, limits: Limits = ANY, orig_addr: int = 0x5000) -> Request:
    return Request(orig_addr, count << 11, 0, limits)


def test_what_fits_needs_no_explanation() -> None:
    assert explain(static(128, []), 0, slots(128)) is None


def test_a_request_beyond_256_kib_is_too_large_and_not_full() -> None:
    assert why(static(4096, []), slots(256)) == (
        Cause.TOO_LARGE,
        "needs 256 contiguous slots, no mapping can have more than 128 (256 KiB)",
    )


def test_fewer_free_slots_than_needed_is_exhausted() -> None:
    assert why(static(128, range(120)), slots(9)) == (Cause.EXHAUSTED, "needs 9 slots, 8 of 128 are free")


def test_enough_free_slots_but_no_run_is_fragmented_as_in_the_field_notes() -> None:
    assert why(static(256, [127, 255, 1, 129]), slots(128)) == (
        Cause.FRAGMENTED,
        "needs 128 contiguous slots, longest free run 125",
    )


def test_a_run_without_an_aligned_start_is_misaligned() -> None:
    used = [slot for slot in range(128) if slot % 32 == 10]
    request = V6_10.request(2048, 0x15000, 0, Limits(min_align_mask=0xFFFF))
    cause, sentence = why(static(128, used), request)
    assert cause is Cause.MISALIGNED
    assert sentence == (
        "needs 1 contiguous slots, longest free run 31, "
        "no place that the search tries is aligned as asked (min_align_mask 0xffff)"
    )


def test_the_alignment_that_cannot_be_had_is_named() -> None:
    used = [slot for slot in range(128) if slot % 2 == 0]
    assert "(alloc_align_mask 0xfff)" in why(static(128, used), Request(0x5000, 2048, 0xFFF, ANY))[1]
    two_from_odd = static(128, [slot for slot in range(128) if slot % 4 in (0, 3)])
    assert "(to a page)" in why(two_from_odd, slots(2))[1]


def test_a_run_that_only_fits_across_a_segment_boundary_is_boundary() -> None:
    used = [slot for slot in range(128) if not 24 <= slot < 40]
    cause, sentence = why(static(128, used), slots(10, Limits(seg_boundary_mask=0xFFFF)))
    assert cause is Cause.BOUNDARY
    assert sentence == (
        "needs 10 contiguous slots, longest free run 16, "
        "each aligned run crosses a boundary between segments of 32 slots"
    )


def test_a_run_that_reaches_into_the_next_area_is_not_all_the_areas_to_give() -> None:
    allocator = static(100, range(48), nareas=2)
    one_slot(allocator.pools[0], 99)
    assert allocator.pools[0].longest_free_slots(0) == 51
    request = Request(0x5000, 51 << 11, 0, ANY)
    assert why(allocator, request) == (
        Cause.EXHAUSTED,
        "needs 51 slots, no area with so long a free run has as many free slots of its own",
    )


def test_without_memory_swiotlb_is_not_initialised() -> None:
    empty = Allocator(V6_10, [], 512, 1, can_grow=False, dynamic=False)
    assert why(empty, slots(1)) == (Cause.NOT_INITIALISED, "swiotlb has no memory")


@pytest.mark.parametrize(
    ("can_grow", "cause", "sentence"),
    [
        (
            True,
            Cause.GROW_FAILED,
            "needs 9 slots, 8 of 128 are free, and no transient pool of 9 slots could be allocated",
        ),
        (False, Cause.CANNOT_GROW, "needs 9 slots, 8 of 128 are free, and swiotlb may not grow"),
    ],
)
def test_a_dynamic_kernel_would_have_grown(can_grow: bool, cause: Cause, sentence: str) -> None:
    pool = static(128, range(120)).pools[0]
    allocator = Allocator(V6_10, [pool], 128, 1, can_grow=can_grow, dynamic=True)
    explanation = explain(allocator, 0, slots(9))
    assert explanation == (cause, Cause.EXHAUSTED, sentence, 9, 8)


@pytest.mark.parametrize(
    ("limits", "start", "cause", "why_not"),
    [
        (
            Limits(min_align_mask=0xFFF),
            0x20000000,
            Cause.MISALIGNED,
            "no place that the search tries is aligned as asked (min_align_mask 0xfff)",
        ),
        (
            Limits(seg_boundary_mask=0xFFFF),
            0x2000F000,
            Cause.BOUNDARY,
            "each aligned run crosses a boundary between segments of 32 slots",
        ),
    ],
)
def test_a_transient_pool_that_was_had_and_does_not_suit_says_why_not(
    limits: Limits, start: int, cause: Cause, why_not: str
) -> None:
    full = static(128, range(120)).pools[0]
    allocator = Allocator(V6_10, [full], 128, 1, can_grow=True, dynamic=True)
    request = slots(9, limits, orig_addr=0x5800)
    pages = Pages(2, start)
    assert allocator.map(0, 7, request.orig_addr, request.alloc_size_bytes, 0, limits, pages) == DMA_MAPPING_ERROR
    had = explain(allocator, 0, request, allocator.transient_pool(request, pages))
    not_had = explain(allocator, 0, request)
    sentence = f"needs 9 slots, 8 of 128 are free, and in the transient pool of 9 slots {why_not}"
    assert had == (cause, Cause.EXHAUSTED, sentence, 9, 8)
    assert not_had is not None
    assert (not_had.cause, not_had.pools_cause) == (Cause.GROW_FAILED, Cause.EXHAUSTED)


def test_an_area_that_is_asked_twice_counts_once() -> None:
    pool = static(384, range(256), nareas=3).pools[0]
    for slot in range(256, 380):
        one_slot(pool, slot)
    allocator = Allocator(V6_10, [pool], 384, 3, can_grow=False, dynamic=True)
    explanation = explain(allocator, 0, slots(5))
    assert explanation is not None
    assert explanation.sentence.startswith("needs 5 slots, 4 of 256 are free")


def test_who_asks_for_alignment_depends_on_the_revision() -> None:
    """A page for a page or more: since 6.9 only where nobody else asks."""
    used = [slot for slot in range(128) if slot % 4 in (0, 3)]
    words = {}
    for name in ("6.8", "6.10"):
        pool = Pool(1, START, 128, 1, rule=REVISIONS[name].rule)
        for slot in used:
            one_slot(pool, slot)
        allocator = Allocator(REVISIONS[name], [pool], 128, 1, can_grow=False, dynamic=False)
        limits = Limits(min_align_mask=0x1FF)
        words[name] = [explain(allocator, 0, Request(0x5000, 4096, 0, of)) for of in (ANY, limits)]
    asked = {name: [e and e.sentence.rpartition("(")[2] for e in both] for name, both in words.items()}
    assert asked == {
        "6.8": ["to a page)", "min_align_mask 0x1ff, to a page)"],
        "6.10": ["to a page)", None],
    }


def test_a_kernel_that_steps_by_two_slots_finds_what_lies_on_its_way_only() -> None:
    """6.6.24 to 6.6.34: not a page is asked for, but every second slot from where the last search ended."""
    revision = of_tree(STABLE_6_6_24)
    pool = Pool(1, START, 128, 1, rule=revision.rule)
    for slot in [slot for slot in range(128) if slot % 4 in (0, 3)]:
        one_slot(pool, slot)
    pool.area_index[0] = 2
    allocator = Allocator(revision, [pool], 128, 1, can_grow=False, dynamic=False)
    assert "(every second slot)" in why(allocator, slots(2))[1]
    pool.area_index[0] = 3
    assert explain(allocator, 0, slots(2)) is None


@pytest.mark.parametrize("into_it_bytes", [1, 512])
def test_a_pool_that_begins_in_the_middle_of_a_slot_has_no_aligned_one(into_it_bytes: int) -> None:
    pool = Pool(1, START + into_it_bytes, 128, 1)
    allocator = Allocator(V6_10, [pool], 128, 1, can_grow=False, dynamic=False)
    assert "(to a slot)" in why(allocator, slots(1))[1]


def test_where_the_search_of_6_1_never_ends_the_sentence_says_so() -> None:
    pool = Pool(1, START, 128, 1, rule=REVISIONS["6.1"].rule)
    for slot in range(127):
        one_slot(pool, slot)
    pool.release(pool.mappings()[0])
    pool.release(pool.mappings()[1])
    pool.area_index[0] = 2
    allocator = Allocator(REVISIONS["6.1"], [pool], 128, 1, can_grow=False, dynamic=False)
    cause, sentence = why(allocator, Request(0x5800, 2 << 11, 0, Limits(min_align_mask=0xFFF)))
    assert cause is Cause.FRAGMENTED
    assert sentence == ("needs 2 contiguous slots, longest free run 1; and this kernel's search for them never ends")


def naive(pool: Pool, request: Request) -> set[Cause]:
    """What is true of one pool with one area, from its free slots alone."""
    needed = -(-request.alloc_size_bytes // 2048)
    free = [pool.free_run(slot) > 0 for slot in range(pool.nslabs)]
    if sum(free) < needed:
        return {Cause.EXHAUSTED}
    starts = [
        slot
        for slot in range(pool.nslabs)
        if slot % 128 + needed <= 128 and len(free[slot : slot + needed]) == needed and all(free[slot : slot + needed])
    ]
    if not starts:
        return {Cause.FRAGMENTED}
    limits = request.limits
    by_page = 0xFFF if request.alloc_size_bytes >= 4096 and not limits.min_align_mask else 0
    aligned = [
        slot
        for slot in starts
        if not ((pool.start + slot * 2048) ^ request.orig_addr) & limits.min_align_mask & ~0x7FF
        and not (pool.start + slot * 2048) & by_page
    ]
    segment = limits.seg_boundary_mask + 1
    inside = [
        slot
        for slot in aligned
        if (pool.start + slot * 2048) // segment == (pool.start + (slot + needed) * 2048 - 1) // segment
    ]
    if inside:
        return set()
    return {Cause.BOUNDARY} if aligned else {Cause.MISALIGNED}


def test_room_that_a_search_without_end_never_comes_to_is_no_boundarys_fault() -> None:
    """Up to 6.2: area 0 has no odd slot left, and its search does not end; area 1 is empty."""
    old = REVISIONS["6.1"]
    pool = Pool(1, START, 256, 2, rule=old.rule)
    for slot in range(1, 128, 2):
        one_slot(pool, slot)
    pool.area_index[0] = 2
    allocator = Allocator(old, [pool], 256, 2, can_grow=False, dynamic=False)
    cause, sentence = why(allocator, Request(0x800, 1, 0, Limits((1 << 32) - 1, 0xFFF)))
    assert cause is Cause.MISALIGNED
    assert sentence.endswith("and this kernel's search for them never ends")


@settings(max_examples=300, deadline=None)
@given(
    nslabs=st.integers(1, 300),
    used=st.sets(st.integers(0, 299), max_size=300),
    every=st.integers(1, 40),
    needed=st.integers(1, 128),
    min_align=st.sampled_from([0, 0xFFF, 0x3FFF, 0xFFFF]),
    boundary=st.sampled_from([0xFFFF, 0x1FFFF, 0x3FFFF, (1 << 64) - 1]),
    orig_addr=st.integers(1, 1 << 20).map(lambda slot: slot << 11),
)
def test_the_cause_is_what_counting_free_slots_says(
    nslabs: int, used: set[int], every: int, needed: int, min_align: int, boundary: int, orig_addr: int
) -> None:
    pool = Pool(1, START, nslabs, 1)
    for slot in {*used, *range(0, nslabs, every)}:
        if slot < nslabs and slot % every < 2:
            one_slot(pool, slot)
    # From the first slot on, no stride jumps over the area's end: what is feasible is found.
    pool.area_index[0] = 0
    allocator = Allocator(V6_10, [pool], nslabs, 1, can_grow=False, dynamic=False)
    request = Request(orig_addr, needed << 11, 0, Limits(boundary, min_align))
    explanation = explain(allocator, 0, request)
    assert ({explanation.cause} if explanation else set()) == naive(pool, request)


# ---- what no pool can serve ----------------------------------------------------


@pytest.mark.parametrize("name", ["6.1", "6.6", "6.8", "6.9", "6.10", "7.3"])
def test_a_mapping_that_only_its_padding_makes_too_large_says_so_on_every_revision(name: str) -> None:
    revision = REVISIONS[name]
    allocator = Allocator(revision, [Pool(1, START, 256, 1, rule=revision.rule)], 256, 1, can_grow=False, dynamic=False)
    request = revision.request(256 << 10, 0x20_0600, 0, Limits(min_align_mask=0xFFF))
    assert why(allocator, request) == (
        Cause.PADDED,
        "needs 129 contiguous slots, no mapping can have more than 128 (256 KiB), "
        "and 1536 bytes of padding before the buffer make it so many",
    )
    one_byte_more = revision.request((256 << 10) + 1, 0x20_0600, 0, Limits(min_align_mask=0xFFF))
    assert why(allocator, one_byte_more)[0] is Cause.TOO_LARGE


def test_padding_of_whole_slots_counts_too() -> None:
    limits = Limits(min_align_mask=0x3FFF)
    before_it_was_rounded = REVISIONS["6.9"].request(256 << 10, 0x20_2000, 0x3FFF, limits)
    assert why(static(256, []), before_it_was_rounded)[0] is Cause.PADDED
    # Since 6.10 the sum is rounded up: how much of it is the mapping's is not known to swiotlb_find_slots().
    assert why(static(256, []), V6_10.request(256 << 10, 0x20_2000, 0x3FFF, limits))[0] is Cause.TOO_LARGE


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [(1 << 30, "asks for 1073741824 bytes"), ((1 << 64) - 14, "asks for -14 bytes"), ((1 << 32) - 2, "4294967294")],
)
def test_a_size_that_nobody_means_is_the_drivers_fault(size_bytes: int, said: str) -> None:
    cause, sentence = why(static(256, []), Request(0, size_bytes, 0, ANY))
    assert cause is Cause.ABSURD_SIZE
    assert said in sentence
    assert sentence.endswith("which no driver means: it has miscalculated")


def test_room_that_came_up_behind_a_failed_search_is_told_of_only_if_it_is_known_to_have_failed() -> None:
    allocator = static(128, [])
    assert explain(allocator, 0, slots(1)) is None
    explanation = explain(allocator, 0, slots(1), failed=True)
    assert explanation is not None
    assert explanation.cause is Cause.OVERTAKEN


# ---- what is refused though there is room ------------------------------------------------


@pytest.mark.parametrize(
    ("shared", "sentence"),
    [
        (True, "the pool's memory is shared with the host, and the device needs memory that is private to the guest"),
        (False, "the pool's memory is private to the guest, and the device needs memory that is shared with the host"),
    ],
)
def test_memory_of_the_other_kind_than_the_device_needs_is_no_matter_of_room(shared: bool, sentence: str) -> None:
    found = wrong_kind(static(128, [0]), 0, slots(2), shared=shared)
    assert (found.cause, found.sentence, found.needed_slots) == (Cause.WRONG_KIND, sentence, 2)
    assert not found.cause.is_of_room


@pytest.mark.parametrize(
    ("reach", "limit"), [(0xFFF_FFFF, ", which reaches addresses up to 0xfffffff"), (0xFFFF_FFFF, "")]
)
def test_slots_that_the_device_does_not_reach_are_no_matter_of_room(reach: int, limit: str) -> None:
    found = unreachable(static(128, [0]), 0, START, 4096, 2, reach)
    assert found.cause is Cause.UNREACHABLE
    assert found.sentence == f"found 2 slots at 0x10000000, beyond the reach of the device{limit}"
    assert not found.cause.is_of_room


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause not in (Cause.WRONG_KIND, Cause.UNREACHABLE)])
def test_all_else_is_a_matter_of_room(cause: Cause) -> None:
    assert cause.is_of_room
