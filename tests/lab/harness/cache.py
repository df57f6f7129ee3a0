"""What is dear to make, on disk: an entry is named by a hash of all that went into it, and is whole or not there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

MANIFEST = "manifest.json"


def default_root() -> Path:
    """Where the lab keeps what is dear to make: `$XDG_CACHE_HOME/swiotlb-top`, else `~/.cache/swiotlb-top`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "swiotlb-top"


def kept(root: Path, kernel: Path) -> Path:
    """What guests leave for the guests after them that have the same kernel, which is an entry of the cache."""
    return root / "guests" / kernel.name


def key(inputs: Mapping[str, str]) -> str:
    """16 hex digits that change with any name or value in `inputs`, whatever their order."""
    return hashlib.sha256(json.dumps(dict(inputs), sort_keys=True).encode()).hexdigest()[:16]


def is_whole(entry: Path) -> bool:
    """True if `entry` has its manifest and every file the manifest lists, each of the size it had when published."""
    try:
        manifest = json.loads((entry / MANIFEST).read_text())
        return all((entry / name).stat().st_size == size_bytes for name, size_bytes in manifest["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def entry_of(shelf: Path, name: str, inputs: Mapping[str, str]) -> Path:
    """Where on `shelf`, a directory, `name` made from `inputs` is, or would be."""
    return shelf / f"{name}-{key(inputs)}"


def obtain(
    shelf: Path, name: str, inputs: Mapping[str, str], make: Callable[[Path], None], say: Callable[[str], None]
) -> Path:
    """The directory of `name` made from `inputs`; calls `make(directory)` if it is not there whole.

    `make` fills an empty directory beside the final place; only when it has returned is the directory renamed, so
    that a build which died is never taken for one that ended. A second caller waits for the first, and says so.
    """
    entry = entry_of(shelf, name, inputs)
    if is_whole(entry):
        return entry
    entry.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(entry.with_name(f".{entry.name}.lock"), lambda: say(f"{name}: being made by another run, waiting")):
        if is_whole(entry):
            return entry
        partial = entry.with_name(f".{entry.name}.partial")
        for leftover in (partial, entry):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir()
        make(partial)
        _write_manifest(partial, inputs)
        partial.rename(entry)
    return entry


@contextmanager
def alone(directory: Path, before_waiting: Callable[[], None]) -> Iterator[None]:
    """`directory`, made if need be, for one run at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    with _exclusive(directory.with_name(f".{directory.name}.lock"), before_waiting):
        yield


def _write_manifest(directory: Path, inputs: Mapping[str, str]) -> None:
    files = {
        str(path.relative_to(directory)): path.stat().st_size for path in sorted(directory.rglob("*")) if path.is_file()
    }
    (directory / MANIFEST).write_text(json.dumps({"inputs": dict(inputs), "files": files}, indent=2) + "\n")


@contextmanager
def _exclusive(path: Path, before_waiting: Callable[[], None]) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            before_waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
