"""``python -m tests.lab.matrix [KERNEL...]``, or ``make matrix``: try every row, or those named, and write the page.

Kernels that are not there are built or fetched first; that takes minutes each. What came of a row is kept at once, so
that a run that ends early has lost nothing. Ends with 1 if a row that was tried is not as it must be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab.matrix import page, results
from tests.lab.matrix.rows import ROWS
from tests.lab.matrix.trial import lab_in, tried_in


def main(arguments: Sequence[str] | None = None) -> int:
    names = [row.kernel for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m tests.lab.matrix", description=__doc__)
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave there what the guests wrote")
    parser.add_argument("--page", action="store_true", help="try nothing, only write the page anew")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.kernels if name not in names]:
        print(f"matrix: no row {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="swiotlb-matrix-") as scratch:
        directory = options.keep or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        wrong = 0 if options.page else try_rows(options.kernels or names, directory)
    page.PAGE.write_text(page.text(results.load()))
    return int(wrong > 0)


def try_rows(kernels: Sequence[str], directory: Path) -> int:
    """How many of them are not as they must be."""
    lab, wrong = lab_in(directory), 0
    for row in ROWS:
        if row.kernel in kernels:
            outcome = tried_in(lab, row)
            results.keep(results.load() | {row.kernel: outcome})
            faults = outcome.faults(row)
            print(f"{row.kernel}: {'; '.join(faults) or outcome.verdict or outcome.cannot}", flush=True)
            wrong += bool(faults)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
