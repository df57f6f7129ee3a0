"""What is held of each kernel and mode."""

from __future__ import annotations

from typing import Final

from tests.oracle.cases import Case
from tests.oracle.compare import compare
from tests.oracle.compiled import Compiled

OPERATIONS: Final = 1_000_000
SEED: Final = 17


def the_reference_does_what_the_kernel_does(case: Case, kernel: Compiled) -> None:
    """A million operations, each answered alike; and what is compared is worth comparing."""
    counts = compare(kernel, kernel.choice().revision, case.mode, operations=OPERATIONS, seed=SEED)
    print(counts)
    assert counts.operations >= OPERATIONS
    assert 0.05 < counts.failed / counts.maps < 0.5
    if case.mode.name == "dynamic":
        assert counts.transient > OPERATIONS // 1000
        assert counts.pools_added > OPERATIONS // 10_000
    assert counts.pools_looked_at > OPERATIONS // 1000
