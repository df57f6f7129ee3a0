"""A row of the support matrix: what `make matrix` does with every kernel, done with one whose pools grow."""

from __future__ import annotations

from tests.lab.harness.lab import Lab
from tests.lab.matrix.rows import ROWS
from tests.lab.matrix.trial import tried_in


def test_a_row_is_tried_and_is_green(lab: Lab) -> None:
    (row,) = (row for row in ROWS if row.kernel == "dynamic")
    outcome = tried_in(lab, row)
    assert outcome.faults(row) == []
    assert (outcome.dynamic, outcome.verdict, outcome.machine) == (True, "agree", "x86_64")
