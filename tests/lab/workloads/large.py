"""large.py DEVICE [MEBIBYTES=64 [READERS=1]]: direct reads of 1 MiB into memory that lies together, in a huge page.

Their segments are as large as swiotlb lets them be: 256 KiB (128 slots, a whole slot set) on vda, 252 KiB on nvme0n1,
whose min_align_mask takes a page off. A kernel without transparent huge pages cannot have it, and it says so.
"""

from __future__ import annotations

import os
import sys

from tests.lab.workloads.memory import lies_together, together

MEBIBYTE = 1 << 20


def read(device: str, mebibytes: int) -> None:
    disk = os.open(f"/dev/{device}", os.O_RDONLY | os.O_DIRECT)
    buffer = together(MEBIBYTE)
    if not lies_together(buffer):
        raise SystemExit("large.py: this kernel gives no huge pages")
    for number in range(mebibytes):
        os.preadv(disk, [buffer], number * MEBIBYTE)


def main() -> int:
    device = sys.argv[1]
    mebibytes = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    readers = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    # Forked, not started one by one: a slow machine takes seconds to start an interpreter.
    for _ in range(readers):
        if os.fork() == 0:
            read(device, mebibytes)
            os._exit(0)
    return max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(readers))


if __name__ == "__main__":
    sys.exit(main())
