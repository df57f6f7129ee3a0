"""Metrics as a file, for node_exporter's textfile collector."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from swiotlb_exporter.web import exposition
from swiotlb_top.errors import CannotError

NAME: Final = "swiotlb.prom"


class Textfile:
    """``swiotlb.prom`` in a directory, each time replaced whole; gone when the exporter ends: old numbers look well.

    :raises CannotError: the directory is not there or may not be written to.
    """

    def __init__(self, directory: Path, registry: CollectorRegistry) -> None:
        if not directory.is_dir():
            what = "is not a directory" if directory.exists() else "does not exist"
            raise CannotError(f"--textfile {directory} {what}: name the directory that node_exporter reads")
        self._path = directory / NAME
        # Not *.prom: the collector reads those.
        self._next = directory / f".{NAME}.{os.getpid()}"
        self._registry = registry
        self.write()

    def write(self) -> None:
        """Replace the file; a reader sees the old or the new one. :raises CannotError: it cannot be written."""
        try:
            with open(self._next, "wb", opener=_readable_by_all) as file:
                file.write(exposition.text(self._registry.collect()))
            self._next.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                self._next.unlink(missing_ok=True)
            raise CannotError(f"{self._path} cannot be written: {error.strerror or error}") from error

    def remove(self) -> None:
        """Take the file away, and what a write may have left that was interrupted."""
        for path in (self._next, self._path):
            with suppress(OSError):  # a read-only directory: then there is nothing of ours in it, or nobody can help
                path.unlink(missing_ok=True)


def _readable_by_all(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o644)
    os.fchmod(descriptor, 0o644)  # whatever the umask: node_exporter is another user
    return descriptor
