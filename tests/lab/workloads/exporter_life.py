"""exporter_life.py URL COMMAND...: scrape an exporter from its start on, end it once attached, and scrape on.

Until it is attached there is a pause between scrapes, which would take the CPU that it attaches on; then there is none.
Prints JSON: what scrapes said, each change once ("refused", "up 0", "up 1", else the fault), how many there were, the
exit status, and of /proc/PID/status what it was allowed while it was attached.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ANSWER_S = 60.0
PATIENCE_S = 600.0
ATTACHED_SCRAPES = 20
PAUSE_S = 0.1


def scrape(url: str) -> str:
    """What one says."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310 (its own loopback)
            found = re.search(r"^swiotlb_up (\d)", answer.read().decode(), re.MULTILINE)
            return f"up {found[1]}" if found else "no swiotlb_up"
    except urllib.error.URLError as error:
        return "refused" if isinstance(error.reason, ConnectionRefusedError | ConnectionResetError) else str(error)
    except ConnectionError as error:
        # It ended between taking the connection and answering.
        return "refused" if isinstance(error, ConnectionResetError) else str(error)


def main() -> int:
    url, *command = sys.argv[1:]
    said: list[str] = []
    scrapes = attached = 0
    allowed: dict[str, str] = {}
    give_up_s = time.monotonic() + PATIENCE_S
    with subprocess.Popen(command) as process:
        while process.poll() is None and time.monotonic() < give_up_s:
            now = scrape(url)
            scrapes += 1
            if now != (said[-1] if said else ""):
                said.append(now)
            attached += now == "up 1"
            if not attached:
                time.sleep(PAUSE_S)
            if attached == ATTACHED_SCRAPES:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                allowed = {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}
                process.terminate()
        if process.poll() is None:
            process.kill()
    now = scrape(url)
    said += [now] if now != said[-1] else []
    kept = {name: allowed.get(name, "") for name in ("Uid", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")}
    json.dump({"said": said, "scrapes": scrapes, "status": process.returncode, "allowed": kept}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
