"""What the packages are made of: the tool's own wheel, and the libraries that it needs, unpacked into one directory."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tools.packages import repack
from tools.packages.pins import PINS, ROOT

_HEADING: Final = re.compile(r"^## (?P<version>\S+) \((?P<day>\d{4}-\d\d-\d\d)\)$", re.MULTILINE)
_OF_THE_INSTALLER: Final = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}
"""In a library's dist-info: how it came here, and no part of it."""


def version() -> str:
    """The version that is built, which is the changelog's latest."""
    return _latest()["version"]


def day() -> datetime:
    """The day of that version, at its beginning: the time of every file in every package."""
    return datetime.fromisoformat(_latest()["day"]).replace(tzinfo=UTC)


def _latest() -> re.Match[str]:
    found = _HEADING.search((ROOT / "CHANGELOG.md").read_text())
    if found is None:
        raise ValueError("CHANGELOG.md has no version with a day: ## VERSION (YEAR-MONTH-DAY)")
    return found


def environment() -> dict[str, str]:
    """What tools that make packages are told: the time that files have, and to leave out what is for one machine."""
    return {**os.environ, "SOURCE_DATE_EPOCH": str(int(day().timestamp())), "SWIOTLB_TOP_NATIVE": "0"}


def built(into: Path) -> tuple[Path, Path]:
    """The source distribution, and the wheel, which is made of that.

    They are built in a copy: setuptools lays out the source distribution in the tree that it builds,
    where two at once would take each other's files away. And a wheel has the modes of what it is made of.
    """
    into.mkdir(parents=True, exist_ok=True)
    quiet = ("--no-isolation", "--skip-dependency-check", "--outdir", str(into.resolve()))
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(ROOT, Path(scratch, "tree"), ignore=_made)
        even(copy, {path for path in files(copy) if path.stat().st_mode & 0o100})
        subprocess.run(
            [sys.executable, "-m", "build", *quiet, str(copy)],
            env=environment(),
            umask=0o022,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    sdist, wheel = into / f"swiotlb_top-{version()}.tar.gz", into / f"swiotlb_top-{version()}-py3-none-any.whl"
    repack.without_maker(sdist, int(day().timestamp()))
    return sdist, wheel


def even(root: Path, runs: Collection[Path]) -> None:
    """Give everything in a directory the mode and time that it has on every machine; ``runs`` can be executed."""
    when = day().timestamp()
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path in runs else 0o644)
        os.utime(path, (when, when))


def modules(wheel: Path, into: Path) -> None:
    """Lay the tool and all that it imports into a directory that Python can import from."""
    libraries(into)
    prefix = _data(wheel)
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(into, [name for name in opened.namelist() if not name.startswith(prefix)])


def libraries(into: Path) -> None:
    """Lay the pinned libraries, without the tool, into a directory."""
    shutil.copytree(_kept(), into)


def beside(wheel: Path, into: Path) -> None:
    """Lay what the wheel has for the prefix (``share/``) into a directory."""
    prefix = _data(wheel)
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(wheel) as opened:
        opened.extractall(scratch, [name for name in opened.namelist() if name.startswith(prefix)])
        shutil.copytree(Path(scratch, prefix), into, dirs_exist_ok=True)


def files(directory: Path) -> Iterator[Path]:
    """All files, always in the same order."""
    yield from sorted(path for path in directory.rglob("*") if path.is_file())


def _made(directory: str, names: list[str]) -> set[str]:
    """What of these names in a directory is no source: what git ignores, and git's own."""
    patterns = [".git", *(ROOT / ".gitignore").read_text().split()]
    here = [pattern.strip("/") for pattern in patterns if not pattern.startswith("/") or Path(directory) == ROOT]
    return {name for pattern in here for name in fnmatch.filter(names, pattern)}


def _data(wheel: Path) -> str:
    return f"swiotlb_top-{version()}.data/data/"


def _kept() -> Path:
    """The pinned libraries in the cache, fetched each time the pins move."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "swiotlb-top"
    kept = cache / f"libraries-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:16]}"
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            fetched = Path(scratch, "libraries")
            _fetch(fetched)
            try:
                fetched.rename(kept)
            except OSError:
                if not kept.is_dir():  # else somebody else was quicker
                    raise
    return kept


def _fetch(into: Path) -> None:
    strict = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile", "--target", str(into))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *strict, "-r", str(PINS)],
        check=True,
    )
    for path in files(into):
        if path.suffix == ".so":
            raise ValueError(f"{path.name} is for one Python and one machine: pin a library that is not")
        if path.parent.name.endswith(".dist-info") and path.name in _OF_THE_INSTALLER:
            path.unlink()
    shutil.rmtree(into / "bin", ignore_errors=True)
