"""The page about the allocator says what the code does.

``python -m tests.unit.allocator.test_docs`` writes its tables.
"""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from swiotlb_top.allocator import DIFFERENCES
from swiotlb_top.allocator.trees import TREES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "allocator.md"
MARKS = "<!-- {0}: written by python -m tests.unit.allocator.test_docs -->\n", "<!-- end of {0} -->"


def differences() -> Iterator[str]:
    """What differs, as Markdown."""
    yield "| aspect | since | commit | | shown by | taken over by |"
    yield "|---|---|---|---|---|---|"
    for row in DIFFERENCES:
        shown_by = "; or ".join(f"`{way}`" for way in row.shown_by)
        commit = f"`{row.commit}` {row.subject}" if row.commit else ""
        since = f"{row.since}, not mainline" if row.only_in_trees else row.since
        trees = "; ".join(tree.name for tree in row.trees)
        yield f"| {row.aspect} | {since} | {commit} | {row.sentence} | {shown_by} | {trees} |"


def trees() -> Iterator[str]:
    """The trees that took over, as Markdown."""
    yield "| tree | how that is known |"
    yield "|---|---|"
    for tree in TREES:
        yield f"| {tree.name} | {tree.proof} |"


TABLES: Mapping[str, Callable[[], Iterator[str]]] = MappingProxyType({"differences": differences, "trees": trees})


def with_tables(page: str) -> str:
    """The page with the tables of today."""
    for name, lines in TABLES.items():
        begin, end = (mark.format(name) for mark in MARKS)
        before, _, rest = page.partition(begin)
        table = "\n".join(lines())
        page = f"{before}{begin}\n{table}\n\n{end}{rest.partition(end)[2]}"
    return page


def test_every_example_of_the_page_is_what_the_code_prints() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted >= 30
    assert results.failed == 0


def test_the_pages_tables_have_every_difference_and_every_tree() -> None:
    assert with_tables(PAGE.read_text()) == PAGE.read_text()


@pytest.mark.parametrize("module", ["swiotlb_top.allocator", "swiotlb_top.allocator.allocator"])
def test_the_librarys_own_examples_are_what_it_prints(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 2
    assert results.failed == 0


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
