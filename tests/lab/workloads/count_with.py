"""count_with.py RECORDS -- CMD...: both planes of the probes over one command, to be held against each other.

Writes the packed records to RECORDS and prints each device's totals, a JSON object by its address.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from swiotlb_top.probes.read.program import Mode
from swiotlb_top.probes.session import Session

UNDER_WAY_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("command", nargs="+", help="after --")
    options = parser.parse_args()
    with Session(mode=Mode.RECORD) as session:
        subprocess.run(options.command, check=True)
        time.sleep(UNDER_WAY_S)
        session.set_mode(Mode.STOP)
        time.sleep(UNDER_WAY_S)
        options.records.write_bytes(session.drain())
        print(json.dumps({dev: asdict(totals) for dev, totals in session.program.totals().items()}))


if __name__ == "__main__":
    main()
