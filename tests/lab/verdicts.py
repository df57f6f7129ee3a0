"""A table of what recordings say: ``python -m tests.lab.verdicts DIRECTORY...``

For each recording under DIRECTORY: its kernel, how many operations were judged, and how. After `make test` those of the
lab are under /tmp/pytest-of-$USER/pytest-current, each below a directory that is named for the kernel of the lab.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.lab.support.tool import replay

COUNTED = ("agree", "disagree", "inconclusive", "safety_violations")


def row(directory: Path, path: Path) -> list[str]:
    """Of one recording."""
    replayed = replay(path)
    report = replayed.report
    counts = (f"{report[name]:,}" for name in COUNTED)
    miscounts = str(len(report["miscounts"]))
    where = str(path.relative_to(directory))
    return [where, report["kernel_release"], f"{replayed.operations:,}", *counts, miscounts, report["verdict"]]


def main(directories: list[str]) -> None:
    print("| recording | kernel | operations | agree | disagree | inconclusive | unsafe | miscounts | verdict |")
    print("|---|---|--:|--:|--:|--:|--:|--:|---|")
    for directory in map(Path, directories):
        for path in sorted(directory.rglob("*.swtrace")):
            print("| " + " | ".join(row(directory, path)) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
