"""in_trouble.py SECONDS BEFORE WHILE PAUSE: what `swiotlb-top check` says of a device in trouble.

BEFORE and WHILE are lines for the module swiotlb_trouble (tests/lab/module), with semicolons between them. The former
are done once; in them, ALL is as many slots as are free, and MOST nearly so many. The latter are done again and again,
with PAUSE seconds after each, until the check has ended. Then all is released, and the device is as it was.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

DEVICE = Path("/sys/kernel/debug/swiotlb_trouble")
SWIOTLB = Path("/sys/kernel/debug/swiotlb")
AS_IT_WAS = "unmap 1000000 1;offset 0;align 0;boundary 0xffffffff;reach 64"


def do(line: str) -> None:
    (DEVICE / "do").write_text(line)


def free_slots() -> int:
    return int((SWIOTLB / "io_tlb_nslabs").read_text()) - int((SWIOTLB / "io_tlb_used").read_text())


def main(seconds: str, before: str, meanwhile: str, pause_s: str) -> int:
    (SWIOTLB / "io_tlb_used_hiwater").write_text("0")
    for line in filter(None, before.split(";")):
        free = free_slots()
        do(line.replace("ALL", str(free)).replace("MOST", str(free * 95 // 100)))
    check = subprocess.Popen([sys.executable, "-m", "swiotlb_top", "check", "--seconds", seconds, "--json"])
    for line in itertools.cycle(meanwhile.split(";")):
        if check.poll() is not None:
            break
        if line:
            do(line)
        time.sleep(float(pause_s))
    for line in AS_IT_WAS.split(";"):
        do(line)
    return check.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
