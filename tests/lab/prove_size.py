"""``python -m tests.lab.prove_size [DIRECTORY]``, or ``make prove-size``: is what `size` answers right?

Every workload of support/proof.py, booted as `size` says, and a line of a table for each. Ends with 1 where a claim is
not true. What the guests recorded is left in DIRECTORY, where one is named.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.lab.harness import cache
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.lab import Lab
from tests.lab.support.proof import WORKLOADS, prove
from tests.lab.support.proven import CLAIMS, COLUMNS, row


def main(directory: Path) -> int:
    lab = Lab(cache.default_root(), directory, may_build=True)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    wrong = []
    for workload in WORKLOADS:
        proof = prove(lab, workload)
        print(f"| {' | '.join(row(proof))} |", flush=True)
        wrong += [f"{workload.name}: not so: {claim}" for claim, is_true in CLAIMS.items() if not is_true(proof)]
    print("\n".join(wrong) or "all of it is so")
    return int(bool(wrong))


if __name__ == "__main__":
    try:
        if sys.argv[1:]:
            kept = Path(sys.argv[1])
            kept.mkdir(parents=True, exist_ok=True)
            sys.exit(main(kept))
        with tempfile.TemporaryDirectory(prefix="swiotlb-proof-") as scratch:
            sys.exit(main(Path(scratch)))
    except LabUnavailableError as error:
        sys.exit(f"lab: {error}")
