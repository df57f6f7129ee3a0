"""What watching costs the kernel: instructions added to a swiotlb map and unmap.

Boots the lab's `dynamic` kernel with QEMU counting instructions and lets the kernel's own
dma_map_benchmark map and unmap a page in a loop, watched by nothing, by us and by what people use
otherwise.  Instructions, not seconds: the figures repeat.  Their resolution is 100.

Run: python -m tests.bench.bench_probes
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.lab.harness import cache
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine

DEADLINE_S: Final = 580.0
BARS: Final = {"our counters": 400, "our events": 800}
"""Instructions a call that we allow ourselves."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="swiotlb-bench-") as scratch:
        lab = Lab(cache.default_root(), Path(scratch), may_build=True)
        try:
            result = lab.run(
                Machine(kernel="dynamic", swiotlb="4096,force", icount=True),
                [sys.executable, "-m", "tests.bench.probe_cost_in_guest"],
                deadline_s=DEADLINE_S,
            )
        except LabUnavailableError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 69
    if result.status:
        print(result.stderr, file=sys.stderr)
        return result.status
    rows = [json.loads(line) for line in result.stdout.splitlines()]
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
