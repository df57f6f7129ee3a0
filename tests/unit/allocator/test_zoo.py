"""What the kernels of many trees answered (tests/zoo) is what the reference answers, by the revision each may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from swiotlb_top.allocator import REVISIONS, Candidate, choose
from swiotlb_top.allocator.alignment import SlotAlignment
from swiotlb_top.constants import IO_TLB_SHIFT, IO_TLB_SIZE
from tests.zoo.scenarios import Difference, Played, Scenario, difference, differs, scenarios

CANDIDATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # kernel: the names it may go by, that of the revision it has first
        "6.0.0-rc1 (a confidential guest)": ("6.0",),
        "6.0.1": ("6.0",),
        "6.1.15 (SpacemiT K1)": ("6.1",),
        "6.1.55": ("6.1",),
        "6.1.158": ("stable 6.1 since 6.1.84",),
        "Debian 12 (6.1.192)": ("stable 6.1 since 6.1.84",),
        "6.2.0 (Arm CCA RFC)": ("6.2",),
        "6.2.12": ("6.2",),
        "6.3.8": ("6.3",),
        "6.4.0": ("6.4",),
        "SLES 15 SP6 (6.4.0-150600.23.22), one allocation": ("6.4 as SLES 15 SP6 ships it",),
        "SLES 15 SP6 (6.4.0-150600.23.22)": ("6.4 as SLES 15 SP6 ships it",),
        "6.5.0": ("6.5",),
        "6.6.0": ("6.6",),
        "6.6.22": ("stable 6.6.3 to 6.6.23",),
        "6.6.24 (rebuilt from the history)": ("stable 6.6.24 to 6.6.34",),
        "6.6.63": ("stable 6.6 since 6.6.35",),
        "openEuler 24.03 (6.6.0-28)": ("6.6 as openEuler 24.03 ships it",),
        "6.7.3": ("6.7",),
        "6.7.12 (rebuilt from the history)": ("stable 6.7.12",),
        "6.8.3 (rebuilt from the history)": ("stable 6.8 since 6.8.3", "6.8"),
        "6.8.11": ("6.8", "stable 6.8 since 6.8.3"),
        "Ubuntu 24.04 (6.8.0-1019-nvidia)": ("6.8 as Ubuntu ships it", "stable 6.8 since 6.8.3", "6.8"),
        "RHEL 9.5 (5.14.0-503.11.1.el9_5)": ("5.14 as RHEL 9 ships it",),
        "6.9.3": ("6.9",),
        "6.10.0": ("6.10",),
        "6.11.11": ("6.11",),
        "Debian (6.12.118)": ("6.12",),
        "6.13.7": ("6.13",),
        "6.18.33": ("6.18",),
        "6.19.9": ("6.19",),
        "7.0.0": ("7.0",),
        "7.1.5": ("7.1",),
        "Debian (7.2.13)": ("7.2",),
        "Debian (7.3.4)": ("7.3",),
    }
)
BETWEEN = "6.8.y between 04867a7a3332 and 51b30ecb73b4"
"""A commit inside 6.8.3, which no release has: alloc_align_mask binds the slot, and the device's mask still whole."""
SEARCHES_TWICE = "SLES 15 SP6 (6.4.0-150600.23.22)"
"""Its swiotlb_alloc() searches twice, once without alignment, and nobody gives back what that finds: its own bug."""

BUILDS = tuple(dict.fromkeys(scenario.build for scenario in scenarios()))


def named(build: tuple[str, bool]) -> str:
    return f"{build[0]}-{'dynamic' if build[1] else 'static'}"


def of(build: tuple[str, bool]) -> list[Scenario]:
    return [scenario for scenario in scenarios() if scenario.build == build]


def candidates_of(build: tuple[str, bool]) -> tuple[Candidate, ...]:
    first = of(build)[0]
    return choose(first.features, first.release).candidates


def own_of(build: tuple[str, bool]) -> Candidate:
    return next(candidate for candidate in candidates_of(build) if candidate.name == CANDIDATES[build[0]][0])


def test_these_are_all() -> None:
    assert {kernel for kernel, _ in BUILDS} == {*CANDIDATES, BETWEEN}
    assert (len(BUILDS), len(scenarios())) == (59, 286)
    assert sum(len(scenario.steps) for scenario in scenarios()) == 46_865


@pytest.mark.parametrize("build", [build for build in BUILDS if build[0] != BETWEEN], ids=named)
def test_a_kernel_may_go_by_these_names_and_the_likeliest_is_chosen(build: tuple[str, bool]) -> None:
    found = candidates_of(build)
    assert {candidate.name for candidate in found} == set(CANDIDATES[build[0]])
    first = of(build)[0]
    choice = choose(first.features, first.release)
    assert choice.revision == found[0].revision
    assert bool(choice.note) == (len(found) > 1)


@pytest.mark.parametrize("build", [build for build in BUILDS if build[0] not in (BETWEEN, SEARCHES_TWICE)], ids=named)
def test_it_agrees_with_its_own_revision_in_every_answer(build: tuple[str, bool]) -> None:
    revision = own_of(build).revision
    assert [differs(scenario, revision) for scenario in of(build)] == [None] * len(of(build))


@pytest.mark.parametrize("build", [build for build in BUILDS if len(CANDIDATES.get(build[0], ())) > 1], ids=named)
def test_and_where_several_are_left_what_it_does_tells_that_it_has_no_other(build: tuple[str, bool]) -> None:
    own = own_of(build)
    others = [candidate for candidate in candidates_of(build) if candidate != own]
    for other in others:
        assert any(differs(scenario, other.revision) for scenario in of(build))
    assert others


# ---- kernels that are wrong themselves, or that nobody runs ---------------------------


class SearchesTwice(Played):
    """The reference, but swiotlb_alloc() first takes slots without alignment, and forgets them."""

    def alloc(self, dev: int, cpu: int, size_bytes: int) -> str:
        revision = self.allocator.revision
        self.allocator.revision = replace(revision, aligns_alloc=False, checks_page=False)
        super().alloc(dev, cpu, size_bytes)
        self.allocator.revision = revision
        return super().alloc(dev, cpu, size_bytes)


def test_sles_own_bug_is_an_allocation_that_is_never_given_back() -> None:
    build = (SEARCHES_TWICE, False)
    revision = own_of(build).revision
    for scenario in of(build):
        first = differs(scenario, revision)
        alloc = next(step for step, (command, _) in enumerate(scenario.steps) if command.startswith("alloc"))
        assert first
        assert first.step >= alloc
        assert difference(SearchesTwice(revision, dynamic=False), scenario) is None


def align_by_both(page_or_more: bool, alloc_align_mask: int, min_align_mask: int) -> SlotAlignment:
    """04867a7a3332 without 51b30ecb73b4: where both masks ask for other bits, no slot will do."""
    alloc_align_mask |= IO_TLB_SIZE - 1
    iotlb_align_mask = min_align_mask & ~(IO_TLB_SIZE - 1)
    stride = (max(alloc_align_mask, iotlb_align_mask) >> IO_TLB_SHIFT) + 1
    return SlotAlignment(alloc_align_mask, iotlb_align_mask, max(stride, 2) if page_or_more else stride)


@pytest.mark.parametrize("build", [build for build in BUILDS if build[0] == BETWEEN], ids=named)
def test_a_commit_that_no_release_has_is_explained_by_its_own_rule(build: tuple[str, bool]) -> None:
    revision = replace(REVISIONS["6.8"], name=BETWEEN, alignment=align_by_both)
    assert [differs(scenario, revision) for scenario in of(build)] == [None] * len(of(build))


@pytest.mark.parametrize("build", BUILDS, ids=named)
def test_what_a_kernel_may_be_never_differs_in_how_much_a_mapping_takes_and_where_its_buffer_is(
    build: tuple[str, bool],
) -> None:
    """Who adds up mappings is told of one revision, whichever it is in the end."""
    assert len({(one.revision.pads_slots, one.revision.rounds_size) for one in candidates_of(build)}) <= 1


def test_a_difference_says_where_and_what() -> None:
    """The smallest that tells Ubuntu's 6.8 from mainline's: 4096 bytes to a slot that is no page's first."""
    steps = (("init 128 1 1 10000000 0", ""), ("dev 0 0 ffffffff ffffffff 0", "ok"), ("map 0 0 5800 4096 0", ""))
    scenario = Scenario("6.8", "6.8.0", (), False, "plain", steps)
    assert differs(scenario, REVISIONS["6.8"]) == Difference(
        0, "init 128 1 1 10000000 0", "", "nslabs 128 nareas 1 default_nareas 1"
    )
