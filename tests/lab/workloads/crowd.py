"""crowd.py DEVICE READERS READS: processes that read at once, directly, what a transient pool has no place for.

Each reads 4 MiB into memory that lies together and begins in the second half of a page. nvme keeps such an offset
(min_align_mask 4095): a segment, mostly of 252 KiB, takes a slot set from its slot 1 on. A transient pool is as long
as the segment, and so has no place for it; where every slot set has one already, it is refused, and nvme asks again.
"""

from __future__ import annotations

import os
import sys

from tests.lab.workloads.memory import together

SLOT = 2048
SIZE_BYTES = 4 << 20


def read(device: str, reads: int) -> None:
    disk = os.open(f"/dev/{device}", os.O_RDONLY | os.O_DIRECT)
    buffer = together(SLOT + SIZE_BYTES)[SLOT:]
    for _ in range(reads):
        os.preadv(disk, [buffer], 0)


def main() -> int:
    device, readers, reads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for _ in range(readers):
        if os.fork() == 0:
            read(device, reads)
            os._exit(0)
    return max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(readers))


if __name__ == "__main__":
    sys.exit(main())
