"""Machines booted as `swiotlb-top size` says: at the size that it recommends nothing fails, at a smaller one it does.

Three of the workloads: one whose answers are a least again and again, one in which alignment decides, and one that
grows. All are on one CPU, and a boot takes seconds. `make prove-size` has the others, too.
"""

from __future__ import annotations

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.support.proof import WORKLOADS, Proof, prove
from tests.lab.support.proven import CLAIMS, row

ON_ONE_CPU = ("stalled virtio-blk", "unaligned nvme", "dynamic growth")


@pytest.fixture(scope="module", params=ON_ONE_CPU)
def proof(request: pytest.FixtureRequest, lab: Lab) -> Proof:
    """One of the workloads, as far as the answers lead."""
    (workload,) = (one for one in WORKLOADS if one.name == request.param)
    return prove(lab, workload)


@pytest.mark.parametrize("claim", CLAIMS)
def test_of_what_size_answers(proof: Proof, claim: str) -> None:
    assert CLAIMS[claim](proof), " | ".join(row(proof))


def test_what_waited_behind_a_failure_is_asked_for_on_the_next_boot(proof: Proof) -> None:
    """An answer is a least if maps failed where it was recorded, and only then."""
    for boot in proof.boots:
        assert boot.answer.told["at_least"] == bool(boot.judged["map_failures"])
