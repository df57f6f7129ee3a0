"""Whose kernel/dma/swiotlb.c is compiled: that of Debian's source packages, fetched once and kept in the lab's cache.

Nothing is installed: a package that is not there is downloaded and unpacked, and three files of it stay.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

from tests.lab.harness import cache, suites
from tests.lab.harness import sources as packages
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.requirements import TO_FETCH, output_of, require
from tests.lab.harness.suites import Suite

RECIPE = "1"
"""Part of the cache key: count up when what is kept of a package changes."""
SWIOTLB_C = "kernel/dma/swiotlb.c"
HEADERS = ("include/linux/swiotlb.h", "include/linux/iommu-helper.h")
"""What defines swiotlb beside its C; all other headers are stood in for by shim.h."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source package, `linux-source-NAME`, and the suite that has it."""

    name: str
    suite: Suite

    @property
    def package(self) -> str:
        return f"linux-source-{self.name}"


DEBIAN_6_1 = Source("6.1", Suite())
DEBIAN_6_12 = Source("6.12", Suite())
DEBIAN_7_3 = Source("7.3", Suite("trixie-backports"))
ALL = (DEBIAN_6_1, DEBIAN_6_12, DEBIAN_7_3)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The files of a source package that matter here."""

    directory: Path
    version: str
    """Of the package, as in `6.12.117-1~deb12u1`."""

    @property
    def release(self) -> str:
        """The kernel's, as in `6.12.117`."""
        return self.version.partition("-")[0]

    @property
    def swiotlb_c(self) -> Path:
        return self.directory / SWIOTLB_C

    @property
    def include(self) -> Path:
        return self.directory / "include"


@once
def fetch(source: Source, *, may_make: bool = True) -> Fetched:
    """The source that is installed, else the newest that its suite has. Raises LabUnavailableError if there is none.

    :param may_make: download and unpack it if that was not done before.
    """
    require(TO_FETCH)
    installed = source.suite.name is None and packages.installed(source.package).exists()
    version = (
        packages.version(source.package, source.suite) if installed else suites.version(source.package, source.suite)
    )

    def make(directory: Path) -> None:
        if installed or source.suite.name is not None:
            _unpack(packages.archive(source.package, source.suite, _say_nothing), source, directory)
            return
        with tempfile.TemporaryDirectory(prefix="swiotlb-oracle-") as scratch:
            package = suites.download(source.package, version, source.suite, Path(scratch))
            suites.unpack(package, Path(scratch) / "root")
            archive = packages.installed(source.package).relative_to("/")
            _unpack(Path(scratch) / "root" / archive, source, directory)

    inputs = {"recipe": RECIPE, "package": f"{source.package} {version}"}
    return Fetched(obtain(f"source-{source.name}", inputs, make, may_make=may_make), version)


def _say_nothing(_: str) -> None:
    """It takes a minute."""


def obtain(name: str, inputs: Mapping[str, str], make: Callable[[Path], None], *, may_make: bool) -> Path:
    """What is named `name` and made from `inputs`, in the lab's cache. Raises LabUnavailableError if it is not there
    and may not be made."""
    shelf = cache.default_root() / "oracle"
    if not may_make and not cache.is_whole(cache.entry_of(shelf, name, inputs)):
        raise LabUnavailableError(f"{name} of the oracle is not made yet: python -m tests.oracle compile")
    return cache.obtain(shelf, name, inputs, make, _say_nothing)


def _unpack(archive: Path, source: Source, directory: Path) -> None:
    files = (f"{source.package}/{name}" for name in (SWIOTLB_C, *HEADERS))
    # Without --occurrence tar reads the rest of a gigabyte for nothing.
    output_of("tar", "-xf", str(archive), "-C", str(directory), "--strip-components=1", "--occurrence=1", *files)
    if not (directory / SWIOTLB_C).exists():
        raise LabUnavailableError(f"{source.package} has no {SWIOTLB_C}")
