"""readers.py READER..., each DEVICE:READERS:READS:PIECES:PIECE_BYTES[:OFFSET_BYTES]: processes that read at once.

So many READERS each make so many direct READS, every one scattered over PIECES pages of which no two lie together, what
of each begins at OFFSET_BYTES: as many maps by one call into the kernel.
"""

from __future__ import annotations

import os
import sys

from tests.lab.workloads.memory import PAGE, scattered

MEBIBYTE = 1 << 20
PART_BYTES = 16 * MEBIBYTE
"""Each reader has a part of the disk of its own, and begins anew at its end."""


def read(device: str, begins_bytes: int, reads: int, pieces: int, piece_bytes: int, offset_bytes: int = 0) -> None:
    disk = os.open(f"/dev/{device}", os.O_RDONLY | os.O_DIRECT)
    room = scattered(pieces * PAGE)
    buffers = [room[at : at + piece_bytes] for at in range(offset_bytes, len(room), PAGE)]
    for number in range(reads):
        os.preadv(disk, buffers, begins_bytes + number * pieces * piece_bytes % PART_BYTES)


def main() -> int:
    begun = 0
    for words in sys.argv[1:]:
        device, *counts = words.split(":")
        readers, *what = map(int, counts)
        for reader in range(readers):
            begun += 1
            if os.fork() == 0:
                read(device, reader * PART_BYTES, *what)
                os._exit(0)
    return max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(begun))


if __name__ == "__main__":
    sys.exit(main())
