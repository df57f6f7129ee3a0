"""What ``size`` takes, as a share of one replay: ``python -m tests.bench.bench_size [FILE...]``.

By default of the recordings of the tests and of the bundled one. Seconds are of processor time, as in bench_replay.
All sizes together are to take no more than two replays: the share is printed for each recording.
"""

from __future__ import annotations

import sys
from pathlib import Path

from swiotlb_top.errors import SwiotlbTopError
from swiotlb_top.reports.replay import replay
from swiotlb_top.sizing.configuration import SIZES_NSLABS
from swiotlb_top.sizing.report import answer
from swiotlb_top.sizing.sized import Question
from tests.bench.bench_replay import best_s
from tests.support.doctoring import GROWING, STALL


def main(arguments: list[str]) -> None:
    """Measure recordings and print a line each."""
    paths = [Path(argument) for argument in arguments] or [GROWING, *sorted(STALL.parent.glob("*.swtrace"))]
    print(f"{'recording':32} {'replay':>9} {f'{len(SIZES_NSLABS)} sizes':>9}  sizes / replay")
    for path in paths:
        try:
            answer([path], Question(), None)
        except SwiotlbTopError as error:
            print(f"{path.name:32} {error}")
            continue
        replay_s = best_s(lambda path=path: replay(path))  # type: ignore[misc]
        sizes_s = best_s(lambda path=path: answer([path], Question(), None))  # type: ignore[misc]
        print(f"{path.name:32} {replay_s:8.3f}s {sizes_s:8.3f}s  {sizes_s / replay_s:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
