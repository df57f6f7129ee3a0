"""Files that come with the tool, as paths for those who can only read files.

Where the tool is a single file, they lie inside it and are copied out: into memory, as the disk may be the one that is
stalled.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError

_MEMORY: Final = "/dev/shm"  # noqa: S108 (what is made there is a directory of one's own)


@contextmanager
def on_disk(name: str) -> Iterator[Path]:
    """A directory of the package, as long as the context lasts. It need not exist.

    :raises CannotError: it has to be copied, and there is no place.
    """
    lies = resources.files("swiotlb_top") / name
    if isinstance(lies, Path):
        yield lies
        return
    try:
        directory = tempfile.TemporaryDirectory(prefix="swiotlb-top-", dir=_roomy())
        copy = Path(directory.name, name)
        _copy(lies, copy)
    except OSError as error:
        raise CannotError(
            f"there is no place for files of swiotlb-top: {error.strerror or error}",
            "set TMPDIR to a directory with room",
        ) from None
    with directory:
        yield copy


def _roomy() -> str | None:
    """Where to copy to; None: where temporary files go."""
    return _MEMORY if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) else None


def _copy(source: Traversable, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for child in source.iterdir():
            _copy(child, target / child.name)
    elif source.is_file():
        target.write_bytes(source.read_bytes())
