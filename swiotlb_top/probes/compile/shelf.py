"""Images on disk, so that a program is compiled once for a kernel and loaded without a compiler from then on.

They are in ``$XDG_CACHE_HOME/swiotlb-top/programs``. An image that somebody other than root or this user could have
written is not loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from swiotlb_top.probes.compile.image import Image
from swiotlb_top.probes.compile.trust import is_trusted

KEPT: Final = 32
"""How many images stay on disk, those used last."""
_UNFINISHED: Final = "unfinished-"
_ABANDONED_S: Final = 3600
"""Writing an image takes less than a second: the process that began to write a file this old was killed."""


class Shelf:
    """A directory of images, each named by a hash of everything that it is made from.

    It is only a cache: an image that cannot be read is made again, and one that cannot be written is not kept.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._home = None if directory or os.environ.get("XDG_CACHE_HOME") else Path("~").expanduser()
        self._directory = directory or _default()

    def image(self, ingredients: Iterable[str], make: Callable[[], Image]) -> Image:
        """The image made from ``ingredients``: the one in the directory, else that of ``make``, which is then kept."""
        key = hashlib.sha256(json.dumps(list(ingredients)).encode()).hexdigest()
        found = self._found(key)
        if found is None:
            found = make()
            with suppress(OSError):
                self._put(key, found)
        return found

    def _path(self, key: str) -> Path:
        return self._directory / f"{key[:32]}.json"

    def _found(self, key: str) -> Image | None:
        try:
            with self._path(key).open() as file:
                if not is_trusted(os.fstat(file.fileno())):
                    return None
                # The key is in the file as well: a file of root's that somebody renamed does not pass for another.
                made_of, _, packed = file.read().partition("\n")
            image = Image.unpacked(packed) if made_of == key else None
        except (OSError, ValueError):
            return None
        with suppress(OSError):
            os.utime(self._path(key))
        return image

    def _put(self, key: str, image: Image) -> None:
        if self._home is not None and not self._home.is_dir():
            return  # An account without a home (/nonexistent) does not get one.
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._directory, prefix=_UNFINISHED)
        try:
            with open(descriptor, "w") as file:
                file.write(f"{key}\n{image.packed()}")
            os.replace(name, self._path(key))
        except BaseException:
            os.unlink(name)
            raise
        self._clear()

    def _clear(self) -> None:
        latest_first = sorted(self._directory.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in latest_first[KEPT:]:
            path.unlink(missing_ok=True)
        for path in self._directory.glob(f"{_UNFINISHED}*"):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink(missing_ok=True)


def _default() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "swiotlb-top" / "programs"
