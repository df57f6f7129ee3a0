"""Each claim of a size that was put to the proof is true of a good proof, and not of one with a thing made wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.lab.support.proof import WORKLOADS, Answer, Boot, Proof
from tests.lab.support.proven import CLAIMS, COLUMNS, row

GOOD = MappingProxyType(
    {"lost": 0, "disagree": 0, "safety_violations": 0, "map_failures": 0, "pools_added": 0, "transient_pools": 0}
)
FAILED = MappingProxyType({**GOOD, "map_failures": 7})


def line(nslabs: int, standing: str) -> dict[str, Any]:
    return {
        "nslabs": nslabs,
        "areas": 1,
        "standing": standing,
        "high_water_slots": 300 if standing == "holds" else None,
        "pools_added": 0,
        "transient_pools": 0,
    }


def answer(*, at_least: bool) -> Answer:
    """A table of two sizes, of a machine that was booted with half as many slots as the smaller."""
    told = {
        "configurations": [line(512, "fails"), line(1024, "holds"), line(2048, "holds")],
        "recommended_nslabs": 1024,
        "at_least": at_least,
        "certain": not at_least,
        "recordings": [{"today": line(256, "fails"), "fails_below_nslabs": 600, "never_fails_from_nslabs": 1024}],
    }
    return Answer(5 if at_least else 0, told)


def boot(nslabs: int, judged: Mapping[str, Any]) -> Boot:
    failed = bool(judged["map_failures"])
    return Boot(nslabs, Path("boot.swtrace"), not failed, judged, answer(at_least=failed), 300, 0)


FIRST, SECOND = boot(256, FAILED), boot(1024, GOOD)
PROOF = Proof(WORKLOADS[0], (FIRST, SECOND), SECOND, boot(512, FAILED))

WRONG: Mapping[str, Proof] = {
    "where it is recorded first it falls short": replace(PROOF, rounds=(SECOND, SECOND)),
    "nothing is missing in any recording, and the reference agrees": replace(
        PROOF, rebooted=replace(SECOND, judged={**GOOD, "lost": 1})
    ),
    "an answer is certain with status 0, and with no other": replace(
        PROOF, rounds=(replace(FIRST, answer=replace(FIRST.answer, status=0)), SECOND)
    ),
    "the last answer is no least": replace(PROOF, rounds=(FIRST,)),
    "at the recommended size no map fails and no pool is added": replace(PROOF, rebooted=boot(1024, FAILED)),
    "there, all that was to be read is read": replace(PROOF, rebooted=replace(SECOND, ended=False)),
    "there, the kernel's log does not say that swiotlb is full": replace(PROOF, rebooted=replace(SECOND, full_lines=1)),
    "at the next smaller that is called too small it falls short": replace(PROOF, smaller=boot(512, GOOD)),
    "the predicted high water is the kernel's own, but for 5 percent": replace(
        PROOF, rebooted=replace(SECOND, high_water_slots=316)
    ),
    "the truth lies between the bounds": replace(PROOF, smaller=boot(512, GOOD)),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_true_of_a_good_proof_and_not_where_it_is_wrong(claim: str) -> None:
    assert CLAIMS[claim](PROOF)
    assert not CLAIMS[claim](WRONG[claim])


@pytest.mark.parametrize(
    ("own_slots", "is_close"), [(286, True), (285, False), (315, True), (316, False), (None, True)]
)
def test_high_water_is_close_within_5_percent_of_the_kernels(own_slots: int | None, is_close: bool) -> None:
    assert replace(PROOF, rebooted=replace(SECOND, high_water_slots=own_slots)).is_close == is_close


def test_what_never_fails_did_not() -> None:
    assert not replace(PROOF, rebooted=boot(1024, FAILED)).is_bracketed


def test_the_next_smaller_is_the_largest_that_falls_short() -> None:
    assert FIRST.answer.too_small["nslabs"] == 512


def test_a_size_that_grows_falls_short() -> None:
    growing = Answer(0, {**answer(at_least=False).told, "configurations": [line(512, "holds") | {"pools_added": 1}]})
    grows = Answer(0, {**growing.told, "recommended_nslabs": 1024})
    assert grows.too_small["nslabs"] == 512


def test_a_line_says_where_the_answers_led() -> None:
    told = dict(zip(COLUMNS, row(PROOF), strict=True))
    assert told["failures"] == "7, stands still, then 1024: 0"
    assert (told["recommended"], told["how sure"], told["next smaller called too small"]) == ("1024", "certain", "512")


def test_workloads_have_names_of_their_own() -> None:
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)
