"""What has to be installed, as tables; and one message that names all that is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.lab.harness.errors import LabUnavailableError

# {program or file: the Debian package it comes with}
TO_RUN: Mapping[str, str] = MappingProxyType({"busybox": "busybox-static", "setpriv": "util-linux"})
TO_BUILD: Mapping[str, str] = MappingProxyType(
    {
        "make": "make",
        "gcc": "gcc",
        "ld": "binutils",
        "flex": "flex",
        "bison": "bison",
        "bc": "bc",
        "perl": "perl",
        "patch": "patch",
        "xz": "xz-utils",
        "pahole": "dwarves",
        "/usr/include/libelf.h": "libelf-dev",
        "/usr/include/openssl/ssl.h": "libssl-dev",
    }
)
TO_FETCH: Mapping[str, str] = MappingProxyType(
    {"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg", "dpkg-query": "dpkg", "xz": "xz-utils", "zstd": "zstd"}
)


def require(*tables: Mapping[str, str]) -> None:
    """Raise LabUnavailableError naming every package of `tables` that this machine lacks."""
    if not sys.platform.startswith("linux"):
        raise LabUnavailableError(f"the lab needs Linux, this is {sys.platform}")
    packages = {package for table in tables for thing, package in table.items() if not _there(thing)}
    if packages:
        raise LabUnavailableError(f"the lab needs packages: apt-get install {' '.join(sorted(packages))}")


def _there(thing: str) -> bool:
    return Path(thing).exists() if thing.startswith("/") else shutil.which(thing) is not None


def output_of(*command: str) -> str:
    """Standard output of `command`; LabUnavailableError with its complaint if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabUnavailableError(f"the lab's recipes are Debian's, and there is no {command[0]} here") from None
    if done.returncode:
        raise LabUnavailableError(f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout
