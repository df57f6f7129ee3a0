"""scrape.py URL [--metric NAME --above VALUE]: print a page of metrics as soon as it is there and says enough.

URL is one of HTTP, or vsock://CID:PORT/PATH. Asks until the exporter answers and, where a metric is named, until its
samples' sum is above VALUE, or above what it is in the page that is kept in a file of that name. With --later-s prints
the page of so much later. Gives up after --patience-s with status 1.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
import urllib.request
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

POLL_S = 0.5
ANSWER_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--metric", default="")
    parser.add_argument("--above", default="0")
    parser.add_argument("--later-s", type=float, default=0.0)
    parser.add_argument("--patience-s", type=float, default=300.0)
    options = parser.parse_args()
    give_up_s = time.monotonic() + options.patience_s
    above = total(Path(options.above).read_text(), options.metric) if "/" in options.above else float(options.above)
    said = ""
    while time.monotonic() < give_up_s:
        try:
            said = asked(options.url)
        except (OSError, HTTPException) as not_yet:
            said = f"{not_yet}\n"
        else:
            if not options.metric or total(said, options.metric) > above:
                time.sleep(options.later_s)
                sys.stdout.write(asked(options.url) if options.later_s else said)
                return 0
        time.sleep(POLL_S)
    sys.stderr.write(said)
    return 1


def asked(url: str) -> str:
    where = urlsplit(url)
    if where.scheme == "vsock":
        return asked_by_vsock(int(where.hostname or ""), where.port or 0, where.path)
    with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310 (its own loopback)
        return str(answer.read().decode())


def asked_by_vsock(cid: int, port: int, path: str) -> str:
    connection = HTTPConnection("vsock", timeout=ANSWER_S)
    connection.sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(ANSWER_S)
        connection.sock.connect((cid, port))
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def total(page: str, metric: str) -> float:
    """Sum of a metric's samples."""
    samples = (line.rsplit(maxsplit=1) for line in page.splitlines() if not line.startswith("#"))
    return sum(float(value) for name, value in samples if name.split("{")[0] == metric)


if __name__ == "__main__":
    sys.exit(main())
