"""peak.py COMMAND...: the most slots in use at once while a command runs, by the probes and by the kernel.

Prints a JSON object: ``of_all`` by the probes (-1 where they leave it to the kernel); ``devices`` by name, the most
that each held and what it holds now; ``kernel`` by debugfs, whose high water is set back to 0 before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from swiotlb_top.probes.read.program import Mode
from swiotlb_top.probes.session import Session

HIWATER = Path("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater")


def main() -> None:
    with Session(mode=Mode.COUNT) as session:
        HIWATER.write_text("0")
        subprocess.run(sys.argv[1:], check=True)
        devices = {session.device_name(dev).name: totals for dev, totals in session.program.totals().items()}
        found = {
            "of_all": session.program.most_of_all_slots(),
            "devices": {name: (totals.most_slots, totals.held_slots) for name, totals in devices.items()},
            "kernel": int(HIWATER.read_text()),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
