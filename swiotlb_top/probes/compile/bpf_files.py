"""Where the C sources are: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from swiotlb_top.errors import CannotError


def directory() -> Path:
    """The directory of ``swiotlb_top.c``.

    :raises CannotError: the installation does not have them.
    """
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "bpf", package.parent / "bpf"):
        if (candidate / "swiotlb_top.c").is_file():
            return candidate
    raise CannotError(f"the BPF sources are missing from {package / 'bpf'}: reinstall swiotlb-top")
