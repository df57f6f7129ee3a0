"""`swiotlb-top record` with what its command line does not offer: the kind of probe, the size of the ring."""

from __future__ import annotations

import argparse
from pathlib import Path

from swiotlb_top.probes.compile.flags import RING_BYTES
from swiotlb_top.recorder import record
from swiotlb_top.state import How


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--prefer", type=How, default=How.FENTRY, help="fentry or kprobe")
    parser.add_argument("--ring-bytes", type=int, default=RING_BYTES)
    parser.add_argument("command", nargs="+", help="after --")
    options = parser.parse_args()
    report = record(options.output, None, tuple(options.command), prefer=options.prefer, ring_bytes=options.ring_bytes)
    print(report.as_text())


if __name__ == "__main__":
    main()
