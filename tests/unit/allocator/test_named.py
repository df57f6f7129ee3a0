"""The names that --revision takes: of a revision, of a tree, of a release; any other is refused in a line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiotlb_top.allocator import REVISIONS, named
from swiotlb_top.allocator.revision import as_of, differing, of_tree
from swiotlb_top.allocator.trees import TREES, UBUNTU_6_8, Tree
from swiotlb_top.errors import UsageError


@pytest.mark.parametrize("name", REVISIONS)
def test_a_revision_is_known_by_its_name_and_comes_first(name: str) -> None:
    assert named(name) is REVISIONS[name]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("6.12", "6.10"),
        ("v6.12", "6.10"),
        ("v6.6", "6.6"),
        ("6.12-rc3", "6.10"),
        ("6.12.117+deb12-amd64", "6.10"),
        ("7.0", "6.10"),
        ("6.9.3", "6.9"),
        ("6.7", "6.6"),
        # Of a stable branch, the build counts.
        ("6.1.83", "6.0"),
        ("6.1.84", "6.1"),
        ("6.6.0", "6.6.0"),
        ("v6.6.23", "6.6"),
        ("v6.6.24", "stable 6.6.24 to 6.6.34"),
        ("6.6.35", "stable 6.6 since 6.6.35"),
        ("6.7.12", "stable 6.7.12"),
        # Debian's own number tells it, and RHEL has called nothing else so.
        ("6.1.0-19-amd64", "6.0"),
        ("6.1.0-42-amd64", "6.1"),
        ("5.14.0-503.11.1.el9_5", "5.14 as RHEL 9 ships it"),
    ],
)
def test_a_release_has_the_revision_that_the_tables_give_it(release: str, name: str) -> None:
    assert named(release).name == name


@pytest.mark.parametrize("release", ["6.0", "6.2", "6.3", "6.4", "6.5", "6.11", "6.19", "7.0", "7.2"])
def test_a_release_of_mainline_is_what_mainline_had(release: str) -> None:
    assert differing(named(release), as_of(release)) == ()


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_a_tree_is_known_by_its_name(tree: Tree) -> None:
    assert differing(named(tree.name), of_tree(tree)) == ()


@pytest.mark.parametrize("release", ["6.8.0-45-generic", "6.8.11", "6.4.0-150600.23.22-default"])
def test_a_release_that_several_trees_may_have_is_refused_with_their_names(release: str) -> None:
    with pytest.raises(UsageError) as refused:
        named(release)
    names = str(refused.value).removeprefix(f"revision {release!r} may be ").removesuffix(": give one of these names")
    assert len({named(name) for name in names.split(" or ")}) > 1


def test_ubuntus_is_one_of_those() -> None:
    with pytest.raises(UsageError, match=f"may be {UBUNTU_6_8.name} or stable 6.8 since 6.8.3 or 6.8: give one of"):
        named("6.8.0-45-generic")


NOWHERE = [
    "",
    "v",
    "6",
    "all",
    "2.4",
    "5.19",
    "6.20",
    "6.66",
    "7.4",
    "8.1",
    "6.6 or so",
    "6.6nonsense",
    "vv6.6",
    "6.6.6.6",
]


@pytest.mark.parametrize("name", [*NOWHERE, "9" * 5000, f"6.{'9' * 5000}", "\uff16.\uff16", "6.6-" + "x" * 100])
def test_what_is_no_name_is_refused_with_all_there_is(name: str) -> None:
    with pytest.raises(UsageError, match=r"^there is no revision '.{0,80}'; known are: 6\.1, seed-v4, .*; the trees 6"):
        named(name)


def test_the_list_has_each_revision_and_tree_and_releases() -> None:
    with pytest.raises(UsageError) as refused:
        named("nonsense")
    revisions, trees, releases = str(refused.value).partition("known are: ")[2].split("; ")
    assert revisions.split(", ") == list(REVISIONS)
    assert trees.removeprefix("the trees ").split(", ") == [tree.name for tree in TREES]
    first, last, *examples = re.findall(r"v?[0-9]+\.[-0-9a-z.]+", releases)
    assert (named(first).name, named(last).name) == ("6.0", "7.3")
    assert [named(example).name for example in examples] == ["6.10", "stable 6.6.24 to 6.6.34", "6.1"]


@given(st.one_of(st.text(), st.from_regex(r"v?[5-8]\.[0-9]{1,2}(\.[0-9]{1,3})?(-[0-9a-z.-]{1,20})?", fullmatch=True)))
def test_whatever_is_asked_for_is_one_revision_or_one_line(name: str) -> None:
    try:
        named(name)
    except UsageError as refused:
        assert len(str(refused).splitlines()) == 1  # noqa: PT017  # both are right
