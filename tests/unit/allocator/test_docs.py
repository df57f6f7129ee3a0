"""The page about the allocator says what the code does.

``python -m tests.unit.allocator.test_docs`` writes its table.
"""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from swiotlb_top.allocator import DIFFERENCES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "allocator.md"
BEGIN = "<!-- differences: written by python -m tests.unit.allocator.test_docs -->\n"
END = "<!-- end of differences -->"


def differences() -> Iterator[str]:
    """The table as Markdown."""
    yield "| aspect | since | commit | | shown by |"
    yield "|---|---|---|---|---|"
    for row in DIFFERENCES:
        shown_by = ", ".join(f"`{word}`" if " " not in word else f"no `{word[3:]}`" for word in row.shown_by)
        commit = f"`{row.commit}`" if row.commit else ""
        yield f"| {row.aspect} | {row.since} | {commit} | {row.sentence} | {shown_by} |"


def with_table(page: str) -> str:
    """The page with the table of today."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join(differences())
    return f"{before}{BEGIN}\n{table}\n\n{END}{after}"


def test_every_example_of_the_page_is_what_the_code_prints() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted >= 30
    assert results.failed == 0


def test_the_pages_table_has_every_difference() -> None:
    assert with_table(PAGE.read_text()) == PAGE.read_text()


@pytest.mark.parametrize("module", ["swiotlb_top.allocator", "swiotlb_top.allocator.allocator"])
def test_the_librarys_own_examples_are_what_it_prints(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 2
    assert results.failed == 0


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
