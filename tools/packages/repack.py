"""Leaves out of a source distribution who made it, and when: setuptools writes both."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path


def without_maker(sdist: Path, when_s: int) -> None:
    """Pack it anew, everything in it root's and of one time (in seconds since 1970)."""
    with (
        tarfile.open(fileobj=io.BytesIO(sdist.read_bytes())) as opened,
        sdist.open("wb") as target,
        gzip.GzipFile("", "wb", 9, target, when_s) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as written,
    ):
        for entry in opened:
            entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, "", ""
            entry.mtime, entry.pax_headers = when_s, {}
            written.addfile(entry, opened.extractfile(entry))
