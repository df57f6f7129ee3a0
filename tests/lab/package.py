"""The distribution's own kernel: fetched, unpacked, and its early modules put in order."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.lab.bzimage import vmlinux
from tests.lab.errors import LabUnavailableError
from tests.lab.kernels import PackagedKernel
from tests.lab.modules import in_load_order
from tests.lab.requirements import TO_FETCH, output_of, require

RECIPE = "2"
"""Part of every cache key: count up when the steps below change what comes out."""


def inputs(kernel: PackagedKernel) -> dict[str, str]:
    """The image package and version that the package lists name now, and the modules kept of it."""
    require(TO_FETCH)
    image = _image_package(kernel)
    version = re.search(r"^Version: (.*)$", output_of("apt-cache", "show", "--no-all-versions", image), re.MULTILINE)
    if version is None:
        raise LabUnavailableError(f"apt-cache knows no version of {image}")
    return {"recipe": RECIPE, "package": f"{image} {version.group(1)}", "modules": " ".join(kernel.modules)}


def _image_package(kernel: PackagedKernel) -> str:
    depends = re.search(r"^ *Depends: (linux-image-\S+)$", output_of("apt-cache", "depends", kernel.meta_package), re.M)
    if depends is None:
        raise LabUnavailableError(f"{kernel.meta_package} depends on no linux-image package")
    return depends.group(1)


def fetch(kernel: PackagedKernel, directory: Path, say: Callable[[str], None]) -> None:
    """Put vmlinux, System.map, config and modules/NN-name.ko (numbered in load order) into `directory`.

    Downloads some 100 MB with apt-get. Raises LabUnavailableError if that fails.
    """
    with tempfile.TemporaryDirectory(prefix="swiotlb-lab-fetch-") as temporary:
        scratch = Path(temporary)
        image = _image_package(kernel)
        say(f"{kernel.name}: download {image}")
        _download(image, scratch)
        say(f"{kernel.name}: unpack")
        root = scratch / "root"
        output_of("dpkg-deb", "-x", str(next(scratch.glob("*.deb"))), str(root))
        for name in ("System.map", "config"):
            shutil.copy(next((root / "boot").glob(f"{name}-*")), directory / name)
        bzimage = next((root / "boot").glob("vmlinuz-*")).read_bytes()
        (directory / kernel.bootable).write_bytes(vmlinux(bzimage))
        modules = directory / "modules"
        modules.mkdir()
        tree = next(path for path in (root / "lib/modules", root / "usr/lib/modules") if path.exists())
        for number, (module, elf) in enumerate(in_load_order(tree, kernel.modules).items()):
            (modules / f"{number:02}-{module}.ko").write_bytes(elf)


def _download(package: str, directory: Path) -> None:
    # As root, apt wants to give the download to its own user, who cannot write here: it warns, and that is all.
    done = subprocess.run(["apt-get", "download", package], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabUnavailableError(f"apt-get download {package}: {done.stderr.strip()}")
