"""What pyproject.toml cannot say: what is made of the tool itself when it is built.

These are the manual page, what shells need to complete a command line, and the long description.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from setuptools import Distribution, setup

ROOT: Final = Path(__file__).resolve().parent
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
    cmdclass={"install_data": InstallData},
    long_description=description((ROOT / "README.md").read_text()),
    long_description_content_type="text/markdown",
)
