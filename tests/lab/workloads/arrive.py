"""arrive.py DIRECTORY TIMES -- LOAD...: record in the middle of a load, TIMES over, each time into a file of its own.

Every time the program is loaded, the probes are attached, the state is read, what goes on is recorded for a moment, and
all of it is gone again, as `swiotlb-top record` does it. What the kernel is, is found out before the load begins. The
recorder goes before the load where both want a CPU: who arrives is not to be kept waiting.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path

from swiotlb_top.kernel import layout
from swiotlb_top.recorder import record

MOMENT_S = 0.1
LOAD_BEGINS_S = 3.0
LEAST_NICE = -20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("times", type=int)
    parser.add_argument("load", nargs="+", help="after --")
    options = parser.parse_args()
    layout.load()
    load = subprocess.Popen(options.load, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(LOAD_BEGINS_S)
    os.nice(LEAST_NICE)
    for number in range(options.times):
        report = record(options.directory / f"arrived-{number:02}.swtrace", MOMENT_S, ())
        print(f"{report.records} events, {report.lost} lost, load {'goes on' if load.poll() is None else 'has ended'}")


if __name__ == "__main__":
    main()
