"""Where the C sources are: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swiotlb_top import bundled
from swiotlb_top.errors import CannotError


@contextmanager
def directory() -> Iterator[Path]:
    """The directory of ``swiotlb_top.c``, as long as the context lasts.

    :raises CannotError: the installation does not have them.
    """
    checkout = Path(__file__).resolve().parents[3]
    with bundled.on_disk("bpf") as packaged:
        for candidate in (packaged, checkout / "bpf"):
            if (candidate / "swiotlb_top.c").is_file():
                yield candidate
                return
        raise CannotError(f"the BPF sources are missing from {packaged}: reinstall swiotlb-top")


def texts(source: Path) -> list[str]:
    """All of them, in an order that is always the same."""
    return [path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.[ch]"))]


def digest() -> str:
    """SHA-256 of the sources, in hexadecimal. :raises CannotError: as :func:`directory`."""
    with directory() as source:
        return hashlib.sha256(json.dumps(texts(source)).encode()).hexdigest()
