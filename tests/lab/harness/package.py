"""The distribution's own kernel: fetched, unpacked, and its early modules put in order."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.lab.harness import suites
from tests.lab.harness.architectures import AMD64
from tests.lab.harness.bzimage import vmlinux
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.kernels import PackagedKernel
from tests.lab.harness.modules import in_load_order

RECIPE = "2"
"""Part of every cache key: count up when the steps below change what comes out."""
_IMAGE = "linux-image-"
MODULES = ("lib/modules/*", "usr/lib/modules/*")


def inputs(kernel: PackagedKernel) -> dict[str, str]:
    """The packages of the image and their versions that the package lists name now, and the modules kept of them."""
    named = (f"{package} {suites.version(package, kernel.suite)}" for package in _packages(kernel))
    return {"recipe": RECIPE, "package": ", ".join(named), "modules": " ".join(kernel.modules)}


def release(kernel: PackagedKernel) -> str:
    """What `uname -r` says of it."""
    return _image(kernel).removeprefix(_IMAGE)


def _image(kernel: PackagedKernel) -> str:
    images = suites.dependencies(kernel.meta_package, rf"{_IMAGE}\S+", kernel.suite)
    if not images:
        raise LabUnavailableError(f"{kernel.meta_package} depends on no linux-image package")
    return images[0]


def _packages(kernel: PackagedKernel) -> list[str]:
    """What the files of one image are in: of 7.3, kernel and modules are in packages of their own."""
    image = _image(kernel)
    parts = rf"linux-(?:base|binary|modules)-{re.escape(image.removeprefix(_IMAGE))}"
    return [image, *suites.dependencies(image, parts, kernel.suite)]


def fetch(kernel: PackagedKernel, directory: Path, say: Callable[[str], None]) -> None:
    """Put vmlinux, config and modules/NN-name.ko (numbered in load order) into `directory`.

    Downloads some 100 MB with apt-get. Raises LabUnavailableError if that fails.
    """
    with tempfile.TemporaryDirectory(prefix="swiotlb-lab-fetch-") as temporary:
        scratch = Path(temporary)
        root = scratch / "root"
        for package in _packages(kernel):
            say(f"{kernel.name}: download {package}")
            suites.unpack(suites.download(package, suites.version(package, kernel.suite), kernel.suite, scratch), root)
        say(f"{kernel.name}: unpack")
        shutil.copy(_only(root, "boot/config-*", *(f"{tree}/config" for tree in MODULES)), directory / "config")
        image = _only(root, "boot/vmlinuz-*", *(f"{tree}/vmlinuz" for tree in MODULES)).read_bytes()
        # On arm64 it is not packed.
        (directory / kernel.bootable).write_bytes(vmlinux(image) if kernel.architecture is AMD64 else image)
        modules = directory / "modules"
        modules.mkdir()
        try:
            early = in_load_order(_only(root, *MODULES), kernel.modules)
        except KeyError as missing:
            raise LabUnavailableError(f"{release(kernel)} has no module {missing.args[0]}") from None
        for number, (module, elf) in enumerate(early.items()):
            (modules / f"{number:02}-{module}.ko").write_bytes(elf)


def _only(root: Path, *patterns: str) -> Path:
    (path,) = (path for pattern in patterns for path in root.glob(pattern))
    return path
