"""What the doctor says of which kernel this is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swiotlb_top.allocator import REVISIONS, Tried, named, tried
from swiotlb_top.allocator.trees import TREES
from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.reports.doctor import Attached
from tests.kernels import layout_of
from tests.support.histories import empty_pool, state_of
from tests.unit.reports.test_doctor import DYNAMIC, PLAN, STATE, check

DEBIAN_6_1 = layout_of("debian-6.1")
DEBIAN_7_3 = layout_of("debian-7.3")


@pytest.mark.parametrize("version", ["", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.112-1 (2024-09-30)"])
def test_a_kernel_that_can_be_one_only_is_told_by_its_release(version: str) -> None:
    found = check("kernel", release="6.1.0-42-amd64", version=version, layout=DEBIAN_6_1)
    assert (found.ok, found.found) == (True, "6.1.0-42-amd64 (x86_64)")


def test_a_kernel_that_may_be_several_is_well_and_they_are_told_unless_uname_v_tells_which() -> None:
    release = "6.1.0-7.3-x"
    found = check("kernel", release=release, layout=DEBIAN_6_1)
    told = f"{release}, which does not tell its sublevel, may be stable 6.1 since 6.1.84 or 6.1: what it does tells"
    assert (found.ok, found.found) == (True, f"{release} (x86_64): {told}")
    version = "#1 SMP Debian 6.1.115-1 (2024-11-01)"
    assert check("kernel", release=release, version=version, layout=DEBIAN_6_1).found == f"{release} (x86_64)"


@pytest.mark.parametrize(
    ("release", "layout", "told"),
    [
        ("9.1.0", DEBIAN_7_3, "9.1.0 is newer than all that is known here: taken for 7.3 where no feature decides"),
        ("6.9.0", DEBIAN_7_3, "6.9.0 shows what no kernel of that name is known to have: taken for 7.3, which has it"),
        (
            "6.7.0",
            replace(DEBIAN_6_1, features=(*DEBIAN_6_1.features, "pools", "total_used", "pad_slots", "cc_shared")),
            "no kernel that is known here has all that 6.7.0 shows: this one is unknown",
        ),
    ],
)
def test_a_kernel_that_is_not_known_is_watched_and_that_is_told(release: str, layout: Layout, told: str) -> None:
    found = check("kernel", release=release, layout=layout)
    assert (found.ok, found.needed, found.found) == (False, False, f"{release} (x86_64): {told}")


def test_a_kernel_from_before_areas_is_counted_and_not_judged() -> None:
    found = check("kernel", release="5.10.0", layout=CannotError("no areas"))
    assert "5.10.0 (x86_64): operations are counted and not judged: no reference is known" in found.found


def test_a_kernel_with_larger_pages_is_watched_and_not_judged() -> None:
    told = check("kernel", machine="aarch64", page_size_bytes=65536)
    assert (told.ok, told.needed) == (False, False)
    assert "counted and not judged" in told.found
    assert "it has pages of 64 KiB" in told.found


def test_a_kernel_with_other_slot_sets_is_counted_and_not_judged() -> None:
    pool = state_of(empty_pool(512))
    large = replace(STATE, pools=(replace(pool, list_=tuple(256 - slot % 256 for slot in range(512))),))
    told = check("kernel", attached=Attached(PLAN, large))
    assert not told.ok
    assert "not judged: its slot sets have 256 slots (IO_TLB_SEGSIZE)" in told.found


STATIC_6_8 = replace(layout_of("debian"), features=("areas", "pools", "total_used", "alloc_size"))


@pytest.mark.parametrize(
    ("changed", "ok", "begins", "says"),
    [
        ({}, True, "6.10: ", "kernels of its kind were booted"),
        ({"release": "6.7.12", "layout": STATIC_6_8}, True, "stable 6.7.12: ", "no kernel booted"),
        (
            {"release": "6.8.0-31-generic", "layout": STATIC_6_8},
            False,
            "6.8 as Ubuntu ships it or ",
            "a kernel with patches of ours that do the same was booted",
        ),
        ({"layout": replace(DYNAMIC, features=("areas", "dyn_free_work"))}, False, "unknown: ", ""),
        ({"layout": CannotError("no BTF")}, False, "not known: ", "cannot be read"),
        ({"release": "5.10.0", "layout": CannotError("no BTF")}, False, "not known: ", "older than 6.0"),
    ],
)
def test_which_revision_it_has_is_told_with_how_sure_that_is(
    changed: dict[str, Any], ok: bool, begins: str, says: str
) -> None:
    told = check("revision", **changed)
    assert (told.ok, told.needed) == (ok, False)
    assert told.found.startswith(begins)
    assert says in told.found


@pytest.mark.parametrize("name", [*REVISIONS, *(tree.name for tree in TREES)])
def test_every_revision_was_tried_in_some_way(name: str) -> None:
    assert tried(named(name)) is not Tried.NOTHING
