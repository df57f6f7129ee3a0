"""Recording each map and unmap: `swiotlb-top record`, `trace-cmd record` and a bpftrace script, on the same hooks.

Boots the lab's `dynamic` kernel, and has one disk read so that it is known beforehand how many calls there are. Times
are of an emulated machine, so that only their ratios tell. What is missing of the calls in the files is loss, whatever
the recorder says. Of each call trace-cmd records that it was entered and that it returned, and no argument; swiotlb-top
and the script record its device, addresses and size. Beside them are the flight recorder, by itself and in the
exporter, which holds the same in memory, and the exporter without it.

Run: python -m tests.bench.bench_recorders
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from swiotlb_top.events import Find, Map, Unmap
from tests.bench.guest import ran
from tests.bench.recorders_in_guest import REQUESTS
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import events

CALLS: Final = 2 * REQUESTS
OURS: Final = {
    "swiotlb-top record": "ours.swtrace",
    "record --flight": "record-flight.swtrace",
    "export --flight": "export-flight.swtrace",
}


def seen(files: Path) -> dict[str, int]:
    """By recorder, how many calls are in its file, with entry and return."""
    report = ["trace-cmd", "report", "-i", str(files / "theirs.dat")]
    told = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    printed = (files / "printed.txt").read_text()
    return {
        **{
            name: sum(isinstance(one, Find | Map | Unmap) for one in events(files / file))
            for name, file in OURS.items()
        },
        "trace-cmd record": min(told.count(": map:"), told.count(": mapped:"))
        + min(told.count(": unmap:"), told.count(": unmapped:")),
        "bpftrace printf": printed.count(" map ") + printed.count(" unmap "),
    }


def main() -> int:
    with ran("tests.bench.recorders_in_guest", Machine(kernel="dynamic", swiotlb="4096,force")) as (rows, files):
        counted = seen(files)
    bare_s = rows[0]["readers_s"]
    print(f"{CALLS} calls; readers alone: {bare_s * 1e6 / CALLS:.1f} us a call")
    titles = f"{'own us/call':>11} {'readers +us/call':>16} {'MiB':>4} {'bytes/call':>10} {'seen':>6} {'lost':>6}"
    print(f"{'recorder':20} {titles}")
    for row in rows[1:]:
        name = row["recorder"]
        print(
            f"{name:20} {row['recorder_s'] * 1e6 / CALLS:11.1f} {(row['readers_s'] - bare_s) * 1e6 / CALLS:16.1f}"
            f" {row['resident_bytes'] >> 20:4} {row['bytes'] / CALLS:10.1f} {counted.get(name, 0):6} {row['lost']:6}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
