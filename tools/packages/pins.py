"""The libraries that go into the single file and the Debian package: ``python -m tools.packages.pins`` moves them.

It writes requirements.txt beside it: what the tool requires, and what that requires, in the versions of today, each
with the hash of its wheel.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PINS: Final = Path(__file__).with_name("requirements.txt")
_PIN: Final = re.compile(r"^(?P<library>\S+==\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})$", re.MULTILINE)


def required() -> list[str]:
    """What pyproject.toml requires, without extras."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def pinned() -> dict[str, str]:
    """The SHA-256 of each library's wheel, by ``name==version``, the name in small letters."""
    return {pin["library"]: pin["sha256"] for pin in _PIN.finditer(PINS.read_text())}


def main() -> None:
    """Ask pip what it would install where nothing is installed, and keep that."""
    asked = ["install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary", ":all:", "--report", "-"]
    told = subprocess.run([sys.executable, "-m", "pip", *asked, *required()], stdout=subprocess.PIPE, check=True)
    pins = [
        f"{package['metadata']['name'].lower()}=={package['metadata']['version']} "
        f"--hash=sha256:{package['download_info']['archive_info']['hashes']['sha256']}"
        for package in json.loads(told.stdout)["install"]
    ]
    PINS.write_text("\n".join([f"# Written by python -m {__spec__.name}.", *sorted(pins), ""]))


if __name__ == "__main__":
    main()
