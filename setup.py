"""What pyproject.toml cannot say: what is made of the tool itself when it is built.

These are the manual page, what shells need to complete a command line, the long description, and the native core.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

ROOT: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from swiotlb_top.native import LIBRARY, SOURCES, SWITCH, sources_crc  # noqa: E402  # of the tree that is being built

NATIVE: Final = "swiotlb_top/native"
COMPLETE: Final = "_SWIOTLB_TOP_COMPLETE"
MADE: Final[dict[str, tuple[tuple[str, ...], dict[str, str]]]] = {
    "share/man/man1/swiotlb-top.1": (("man",), {}),
    "share/bash-completion/completions/swiotlb-top": ((), {COMPLETE: "bash_source"}),
    "share/zsh/site-functions/_swiotlb-top": ((), {COMPLETE: "zsh_source"}),
    "share/fish/vendor_completions.d/swiotlb-top.fish": ((), {COMPLETE: "fish_source"}),
}
"""Files below the prefix, and the arguments and the environment with which swiotlb-top prints them."""
INSTALLS: Final[Any] = Distribution().get_command_class("install_data")


class InstallData(INSTALLS):
    """Installs what is listed in pyproject.toml, and what is made."""

    def run(self) -> None:
        super().run()
        for name, (arguments, environment) in MADE.items():
            path = Path(self.install_dir, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(told(arguments, environment))
            self.outfiles.append(str(path))


class BuildCore(build_ext):
    """Builds the native core. It is no module of Python's: it has one name for all Pythons."""

    def get_ext_filename(self, fullname: str) -> str:
        return f"{fullname.replace('.', '/')}{Path(LIBRARY).suffix}"


def core() -> Extension:
    """The native core. Where there is no compiler, it is left out, and nothing else is."""
    return Extension(
        "swiotlb_top.native.core",
        [f"{NATIVE}/{name}" for name in SOURCES if name.endswith(".c")],
        include_dirs=["bpf"],
        define_macros=[("SOURCES_CRC", f"{sources_crc(ROOT / NATIVE)}u")],
        extra_compile_args=["-std=c99", "-O2"],
        optional=True,
    )


def told(arguments: tuple[str, ...], environment: dict[str, str]) -> str:
    """What the swiotlb-top that is being built prints."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "exporters"), os.environ.get("PYTHONPATH", "")))
    return subprocess.run(
        [sys.executable, "-m", "swiotlb_top", *arguments],
        env={**os.environ, **environment, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def description(readme: str) -> str:
    """README as it can be read away from the files beside it: a picture by its words, and a link by its text."""

    def retold() -> Iterator[str]:
        for paragraph in readme.split("\n\n"):
            picture = re.fullmatch(r"!\[(.*)\]\([^:]*\)\n?", paragraph, re.DOTALL)
            yield f"*{picture[1]}*" if picture else re.sub(r"\[([^]]*)\]\([^:)]*\)", r"\1", paragraph)

    return "\n\n".join(retold())


setup(
    cmdclass={"install_data": InstallData, "build_ext": BuildCore},
    # What is handed out is for every machine, and is built without.
    ext_modules=[] if os.environ.get(SWITCH) == "0" else [core()],
    long_description=description((ROOT / "README.md").read_text()),
    long_description_content_type="text/markdown",
)
