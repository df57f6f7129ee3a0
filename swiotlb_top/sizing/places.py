"""Where recordings are: on this machine, or at a URL that fsspec reads, where that is installed."""

from __future__ import annotations

import importlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError, UnreadableError

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_PIECE_BYTES: Final = 1 << 20


def is_url(name: str) -> bool:
    """Whether a name is none of a file of this machine."""
    return _URL.match(name) is not None


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """What is at a URL, as a private file that is gone afterwards.

    :raises CannotError: fsspec is not installed, or there is no room.
    :raises UnreadableError: it cannot be read.
    """
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        raise CannotError(
            f"{url} needs fsspec, which is not installed", "install swiotlb-top[remote], or copy the file here"
        ) from None
    with tempfile.TemporaryDirectory(prefix="swiotlb-top-") as directory:
        path = Path(directory, "fetched.swtrace")
        try:
            with fsspec.open(url, "rb") as there, path.open("wb") as here:
                shutil.copyfileobj(there, here, _PIECE_BYTES)
        except Exception as error:  # each of fsspec's backends has exceptions of its own
            told = str(error).partition("\n")[0] or type(error).__name__
            raise UnreadableError(f"{url} cannot be read: {told}") from None
        yield path
