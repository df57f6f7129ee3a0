"""The support matrix: which rows are green, what the page says of the others, and that docs/support.md is that page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.harness.kernels import ALWAYS_THERE, KERNELS
from tests.lab.matrix import page, results
from tests.lab.matrix.results import Outcome
from tests.lab.matrix.rows import GROWING, ROWS, Row

ROOT = Path(__file__).parents[3]
SOUND = Row("debian", "Debian's")
GROWS = Row("dynamic", "that grows", GROWING)
WRONG = Row("injected-overlap", "with a bug", verdict="disagree")
UNJUDGED = Row("sets-of-256-static", "with large sets", verdict="inconclusive", cannot="that is not known")
UNBOOTABLE = Row("debian-6.1-cloud", "cloud", cannot="it has no files", refusal="has no module 9p")

CAME = Outcome(
    release="6.12.1",
    machine="x86_64",
    attach="fentry, 4 hooks",
    revision="6.10: shown",
    kernel_check="6.12.1 (x86_64)",
    events=10,
    operations=9,
    compared=9,
    judged_by="6.10",
    verdict="agree",
    doctor_status=0,
    screen="live well",
    screen_disagree=0,
    exporter_up=True,
)
BAD = replace(CAME, verdict="disagree", disagree=3, unsafe=1, miscounts=1, screen_disagree=2)


def test_a_row_is_green_if_all_is_as_it_must_be() -> None:
    assert CAME.faults(SOUND) == []
    assert BAD.faults(WRONG) == []
    assert Outcome(cannot="6.1 has no module 9p").faults(UNBOOTABLE) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (replace(CAME, verdict="inconclusive"), "the verdict is inconclusive, not agree"),
        (replace(CAME, doctor_status=3), "the doctor ended with 3"),
        (replace(CAME, lost=4), "4 events are lost"),
        (replace(CAME, events=0), "nothing was recorded"),
        (replace(CAME, compared=8), "not every operation was compared"),
        (replace(CAME, inconclusive=1), "not every operation was compared"),
        (replace(CAME, disagree=1), "1 disagree"),
        (replace(CAME, unsafe=1), "1 are unsafe"),
        (replace(CAME, miscounts=1), "1 counters are wrong"),
        (replace(CAME, screen="debugfs well"), "the screen shows debugfs well"),
        (replace(CAME, screen=""), "the screen shows nothing"),
        (replace(CAME, screen_disagree=1), "the screen has 1 disagreements"),
        (replace(CAME, exporter_up=False), "the exporter is not up"),
        (replace(CAME, dynamic=True, pools_added=1), "it is dynamic"),
        (Outcome(cannot="the machine was lost"), "the machine was lost"),
    ],
)
def test_whatever_is_not_as_it_must_be_is_named(fault: Outcome, said: str) -> None:
    assert fault.faults(SOUND) == [said]


def test_pools_that_can_grow_must_have_grown() -> None:
    grown = replace(CAME, dynamic=True, transient_pools=1)
    assert grown.faults(GROWS) == []
    assert replace(grown, transient_pools=0).faults(GROWS) == ["no pool was added"]
    assert replace(grown, dynamic=False).faults(GROWS) == ["it is not dynamic"]


def test_a_kernel_with_a_bug_that_is_said_to_agree_is_a_fault() -> None:
    assert CAME.faults(WRONG) == ["the verdict is agree, not disagree"]


def test_what_is_not_judged_must_not_be_said_to_agree() -> None:
    unjudged = replace(CAME, verdict="inconclusive", compared=0, inconclusive=9)
    assert unjudged.faults(UNJUDGED) == []
    assert CAME.faults(UNJUDGED) == ["the verdict is agree, not inconclusive"]


def test_a_kernel_that_cannot_boot_is_one_of_which_the_lab_says_so() -> None:
    assert Outcome(cannot="apt-get failed").faults(UNBOOTABLE) == ["apt-get failed"]
    assert CAME.faults(UNBOOTABLE) == ["it can be booted"]


def test_the_page_says_what_came_of_each_row() -> None:
    outcomes = {"debian": replace(CAME, lost=2), "debian-6.1-cloud": Outcome(cannot="6.1 has no module 9p")}
    said = page.text(outcomes, (SOUND, WRONG, UNBOOTABLE))
    assert "1 of 3 rows are as they must be; 1 of them say that it cannot be done" in said
    assert "| Debian's | `6.12.1` | static | x86_64 | fentry, 4 hooks | 10, 2 lost | agree |" in said
    assert "**not as it must be**: 2 events are lost |" in said
    assert "**not tried yet** |" in said
    assert "cannot, because it has no files |" in said


def test_what_is_kept_is_what_came(tmp_path: Path) -> None:
    assert results.load(tmp_path / "none") == {}
    results.keep({"debian": BAD}, tmp_path / "kept")
    assert results.load(tmp_path / "kept") == {"debian": BAD}


def test_every_row_names_a_kernel_of_its_own_and_every_kernel_has_a_row() -> None:
    assert sorted(row.kernel for row in ROWS) == sorted(KERNELS)
    assert len(ROWS) >= 24


def test_what_only_the_matrix_wants_is_not_built_without_its_name() -> None:
    assert {"6.6", "6.6-static", "debian-6.1-rt"}.isdisjoint(ALWAYS_THERE)


def test_the_page_is_written_from_what_is_kept() -> None:
    assert page.PAGE.read_text() == page.text(results.load())


def test_the_readme_leads_to_it() -> None:
    assert "(docs/support.md)" in (ROOT / "README.md").read_text()
