"""What watching costs the kernel: instructions added to a swiotlb map and unmap.

Boots the lab's `dynamic` kernel with QEMU counting instructions and lets the kernel's own
dma_map_benchmark map and unmap a page in a loop, watched by nothing, by us and by what people use
otherwise.  Instructions, not seconds: the figures repeat.  Their resolution is 100.

Run: python -m tests.bench.bench_probes
"""

from __future__ import annotations

import sys
from typing import Final

from tests.bench.guest import ran
from tests.lab.harness.machine import Machine

BARS: Final = {"our counters": 400, "our events": 800}
"""Instructions a call that we allow ourselves."""


def main() -> int:
    machine = Machine(kernel="dynamic", swiotlb="4096,force", icount=True)
    with ran("tests.bench.probe_cost_in_guest", machine) as (rows, _):
        bare = rows[0]
        print(f"{'watched by':22} {'map':>6} {'added':>6} {'ratio':>6} {'unmap':>7} {'added':>6} {'ratio':>6}")
        for row in rows:
            added = {call: row[call] - bare[call] for call in ("map", "unmap")}
            bar = BARS.get(row["watched_by"])
            print(
                f"{row['watched_by']:22} {row['map']:6} {added['map']:+6} {row['map'] / bare['map']:6.2f}"
                f" {row['unmap']:7} {added['unmap']:+6} {row['unmap'] / bare['unmap']:6.2f}"
                + (f"   bar +{bar}: {'held' if max(added.values()) <= bar else 'MISSED'}" if bar else "")
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
