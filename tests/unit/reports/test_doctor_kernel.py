"""What the doctor says of which kernel this is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.layout import Layout
from tests.kernels import layout_of
from tests.unit.reports.test_doctor import check

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
