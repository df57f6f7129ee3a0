"""Which tree a kernel is from, by what it calls itself; and which revisions it may have then."""

from __future__ import annotations

import pytest

from swiotlb_top.allocator import DIFFERENCES, REVISIONS, Candidate, Choice, choose
from swiotlb_top.allocator.alignment import align_by_stride, align_by_two_slots
from swiotlb_top.allocator.revision import of_tree
from swiotlb_top.allocator.trees import TREES, Maker, Release, read_release

STATIC_6_1 = ("areas", "alloc_size")
STATIC_6_6 = ("areas", "pools", "total_used", "alloc_size")
DYNAMIC_6_8 = ("areas", "pools", "dynamic", "total_used", "alloc_size", "search_area")
DEBIANS_VERSION = "#1 SMP PREEMPT_DYNAMIC Debian {} (2024-11-01)"


@pytest.mark.parametrize(
    ("release", "maker", "branch", "build"),
    [
        ("6.6.24", Maker.KERNEL_ORG, (6, 6), 24),
        ("6.6.0", Maker.KERNEL_ORG, (6, 6), 0),
        ("6.8-rc1", Maker.KERNEL_ORG, (6, 8), 0),
        ("6.8.0-rc1", Maker.KERNEL_ORG, (6, 8), 0),
        ("6.12.117+deb12-amd64", Maker.KERNEL_ORG, (6, 12), 117),
        ("6.8.11-300.fc40.x86_64", Maker.KERNEL_ORG, (6, 8), 11),
        ("6.6.57.1-7.azl3", Maker.KERNEL_ORG, (6, 6), 57),
        ("6.6.36.3-microsoft-standard-WSL2", Maker.KERNEL_ORG, (6, 6), 36),
        ("6.1.115-126.197.amzn2023.x86_64", Maker.KERNEL_ORG, (6, 1), 115),
        ("6.1.0-42-amd64", Maker.DEBIAN, (6, 1), 42),
        ("6.1.0-18-cloud-amd64", Maker.DEBIAN, (6, 1), 18),
        ("6.1.0-18-rt-arm64", Maker.DEBIAN, (6, 1), 18),
        ("6.1.0-0.deb11.21-amd64", Maker.DEBIAN, (6, 1), 21),
        ("6.8.0-45-generic", Maker.UBUNTU, (6, 8), None),
        ("6.8.0-1019-nvidia", Maker.UBUNTU, (6, 8), None),
        ("6.8.12-4-pve", Maker.UBUNTU, (6, 8), None),
        ("5.14.0-503.11.1.el9_5.x86_64", Maker.RHEL, (5, 14), 503),
        ("6.12.0-55.9.1.el10_0.x86_64", Maker.RHEL, (6, 12), 55),
        ("6.4.0-150600.23.22-default", Maker.SLES, (6, 4), 150600),
        ("6.6.0-28.0.0.34.oe2403.x86_64", Maker.OPENEULER, (6, 6), 28),
        ("6.6.0-7.3-x", Maker.OTHER, (6, 6), None),
    ],
)
def test_a_release_tells_who_made_it_and_the_build(
    release: str, maker: Maker, branch: tuple[int, int], build: int | None
) -> None:
    assert read_release(release) == Release(maker, branch, build)


def test_what_is_no_release_tells_nothing() -> None:
    assert read_release("mainline") is None


def test_debians_uname_v_has_the_sublevel_that_its_uname_r_has_not() -> None:
    assert read_release("6.1.0-18-amd64", DEBIANS_VERSION.format("6.1.76-1")) == Release(Maker.KERNEL_ORG, (6, 1), 76)
    assert read_release("6.1.0-7-foo", DEBIANS_VERSION.format("6.1.112-1")) == Release(Maker.KERNEL_ORG, (6, 1), 112)


# ---- the table -----------------------------------------------------------------


def test_each_tree_has_a_name_of_its_own_a_revision_of_its_own_and_says_how_it_is_known() -> None:
    assert len({tree.name for tree in TREES}) == len(TREES)
    revisions = [of_tree(tree) for tree in TREES]
    assert len(set(revisions)) == len(TREES)
    assert all(tree.proof for tree in TREES)
    assert all(tree.inferred == ("inferred" in tree.proof or "not known" in tree.proof) for tree in TREES)


def test_each_tree_took_something_over_and_what_mainline_never_had_some_tree_has() -> None:
    assert {tree for row in DIFFERENCES for tree in row.trees} == set(TREES)
    assert {row.since for row in DIFFERENCES if row.only_in_trees} == {"6.1.84", "6.6.24"}
    assert all(row.trees for row in DIFFERENCES if row.only_in_trees)


def test_61_is_the_stable_branch_as_it_is_today() -> None:
    assert REVISIONS["6.1"].alignment is align_by_stride


# ---- which one a kernel has ----------------------------------------------------


def found(features: tuple[str, ...], release: str, version: str = "") -> list[str]:
    return [candidate.name for candidate in choose(features, release, version).candidates]


@pytest.mark.parametrize(
    ("features", "release", "names"),
    [
        (STATIC_6_1, "6.1.83", ["6.1"]),
        (STATIC_6_1, "6.1.84", ["stable 6.1 since 6.1.84"]),
        (STATIC_6_1, "6.1.115-126.197.amzn2023.x86_64", ["stable 6.1 since 6.1.84"]),
        (STATIC_6_1, "6.1.0-19-amd64", ["6.1"]),
        (STATIC_6_1, "6.1.0-20-amd64", ["stable 6.1 since 6.1.84"]),
        (STATIC_6_1, "6.1.0-7.3-x", ["stable 6.1 since 6.1.84", "6.1"]),
        (STATIC_6_6, "6.6.2", ["6.6"]),
        (STATIC_6_6, "6.6.3", ["stable 6.6.3 to 6.6.23"]),
        (STATIC_6_6, "6.6.23", ["stable 6.6.3 to 6.6.23"]),
        (STATIC_6_6, "6.6.24", ["stable 6.6.24 to 6.6.34"]),
        (STATIC_6_6, "6.6.34", ["stable 6.6.24 to 6.6.34"]),
        ((*STATIC_6_6, "pad_slots"), "6.6.36.3-microsoft-standard-WSL2", ["stable 6.6 since 6.6.35"]),
        ((*STATIC_6_6, "pad_slots"), "6.6.57.1-7.azl3", ["stable 6.6 since 6.6.35"]),
        (STATIC_6_6, "6.7.11", ["6.7"]),
        (STATIC_6_6, "6.7.12", ["stable 6.7.12"]),
        (STATIC_6_6, "6.6.0-7.3-x", ["stable 6.6.24 to 6.6.34", "stable 6.6.3 to 6.6.23", "6.6"]),
        (DYNAMIC_6_8, "6.8.2", ["6.8"]),
        (DYNAMIC_6_8, "6.8.11-300.fc40.x86_64", ["stable 6.8 since 6.8.3", "6.8"]),
        (DYNAMIC_6_8, "6.8.0-31-generic", ["6.8 as Ubuntu ships it", "stable 6.8 since 6.8.3", "6.8"]),
        (DYNAMIC_6_8, "6.8.12-4-pve", ["6.8 as Ubuntu ships it", "stable 6.8 since 6.8.3", "6.8"]),
    ],
)
def test_where_no_feature_tells_the_sublevel_or_the_build_does(
    features: tuple[str, ...], release: str, names: list[str]
) -> None:
    assert found(features, release) == names


def test_a_kernel_whose_uname_v_is_known_is_of_one_tree() -> None:
    assert found(STATIC_6_1, "6.1.0-7.3-x", DEBIANS_VERSION.format("6.1.55-1")) == ["6.1"]
    choice = choose(STATIC_6_1, "6.1.0-7.3-x", DEBIANS_VERSION.format("6.1.112-1"))
    assert (choice.revision.name, choice.note) == ("6.1", "")


def test_where_several_are_left_the_likeliest_is_chosen_and_the_note_has_all() -> None:
    choice = choose(STATIC_6_1, "6.1.0-7.3-x")
    assert choice.revision is REVISIONS["6.1"]
    assert choice.note == (
        "6.1.0-7.3-x, which does not tell its sublevel, may be stable 6.1 since 6.1.84 or 6.1: what it does tells"
    )
    assert choose(DYNAMIC_6_8, "6.8.3").note == "6.8.3 may be stable 6.8 since 6.8.3 or 6.8: what it does tells"


def test_reasons_say_what_a_tree_took_over() -> None:
    reasons = {reason.aspect: reason.why for reason in choose(STATIC_6_6, "6.7.12").reasons}
    assert reasons["alignment"] == "taken over by stable 6.7.12"
    assert reasons["pads_slots"] == "shown by no pad_slots"
    assert reasons["checks_page"] == "by release"


def test_what_is_in_a_kernel_counts_more_than_what_it_calls_itself() -> None:
    """A 6.6.20 that has slots of padding has what 6.6.35 has; it is no 6.6.20 of kernel.org."""
    features = (*STATIC_6_6, "pad_slots")
    assert found(features, "6.6.20") == ["stable 6.6 since 6.6.35"]
    assert found((*features, "dynamic"), "6.6.20") == ["stable 6.6 since 6.6.35", "6.9"]
    choice = choose(features, "6.6.20")
    assert choice.revision.name == "stable 6.6 since 6.6.35"
    assert choice.note == (
        "6.6.20 shows what no kernel of that name is known to have: taken for stable 6.6 since 6.6.35, which has it"
    )


def test_a_kernel_that_no_row_explains_is_unknown_and_that_is_said() -> None:
    """7.3's counters, and padding, but the argument that went in 6.10."""
    features = (*STATIC_6_6, "pad_slots", "cc_shared")
    choice = choose(features, "6.7.0")
    assert (choice.candidates, choice.is_known) == ((), False)
    assert choice.note == "no kernel that is known here has all that 6.7.0 shows: this one is unknown"
    assert choice.revision.pads_slots


def test_a_static_kernel_is_not_told_apart_by_what_only_dynamic_ones_do() -> None:
    """6.4 counts as 6.6 does, where no pool is transient."""
    assert found(("areas", "total_used", "alloc_size"), "6.4.0") == ["6.4"]


@pytest.mark.parametrize("release", ["6.4.0-150600.21-default", "6.4.0-150600.23.22-default"])
def test_sles_shows_its_rule(release: str) -> None:
    features = ("areas", "total_used", "pad_slots", "alloc_size")
    choice = choose(features, release)
    assert choice.revision.alignment is align_by_two_slots
    assert {reason.why for reason in choice.reasons if reason.aspect == "alignment"} == {"shown by pad_slots, no pools"}
    assert choice.note == ""


def test_rhel_9_before_503_may_be_any_that_has_what_it_shows() -> None:
    features = ("areas", "pools", "total_used", "transient_nslabs", "alloc_size", "search_area")
    assert found(features, "5.14.0-570.12.1.el9_6.x86_64") == ["5.14 as RHEL 9 ships it"]
    older = "5.14.0-427.13.1.el9_4.x86_64"
    assert found(features, older) == ["5.14 as RHEL 9 ships it", "6.8", "stable 6.8 since 6.8.3"]
    assert choose(features, older).note.endswith("taken for 5.14 as RHEL 9 ships it, which has it")


# ---- whether it must be one of them ---------------------------------------------


@pytest.mark.parametrize(
    ("features", "release", "is_known"),
    [
        (STATIC_6_6, "6.6.24", True),
        (DYNAMIC_6_8, "6.8.0-31-generic", True),
        (STATIC_6_6, "7.4.0", False),
        (STATIC_6_6, "mainline", False),
        ((*STATIC_6_6, "pad_slots"), "6.6.20", False),
    ],
)
def test_a_kernel_must_be_one_of_its_candidates_if_kernels_of_that_name_are_known_and_have_what_it_shows(
    features: tuple[str, ...], release: str, is_known: bool
) -> None:
    choice = choose(features, release)
    assert choice.candidates
    assert choice.is_known == is_known


def test_a_revision_that_is_asked_for_is_the_only_one() -> None:
    revision = REVISIONS["6.9"]
    assert Choice.of(revision) == Choice(revision, (), "", (Candidate(revision, "6.9"),), is_known=True)
