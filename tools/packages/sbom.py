"""The bill of materials (SBOM) of the single file and the Debian package: the libraries inside, as CycloneDX JSON.

cyclonedx-py reads what each library says of itself: its licence, and what it requires. The pins know the hash of each
wheel.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.packages import pins, tree

SPECIFICATION: Final = "1.6"
"""The version of CycloneDX's format."""


def path(directory: Path) -> Path:
    """Where it is in a directory of packages."""
    return directory / f"swiotlb-top-{tree.version()}.cdx.json"


def make(wheel: Path, into: Path) -> Path:
    """Write it into a directory."""
    with tempfile.TemporaryDirectory() as scratch:
        modules = Path(scratch, "modules")
        tree.modules(wheel, modules)
        bill = json.loads(_read(modules))
    bill["metadata"]["component"]["version"] = tree.version()
    sha256 = pins.pinned()
    for component in bill["components"]:
        name = f"{component['name'].lower()}=={component['version']}"
        component["hashes"] = [{"alg": "SHA-256", "content": sha256[name]}]
    target = path(into)
    target.write_text(json.dumps(bill, indent=2) + "\n")
    return target


def _read(modules: Path) -> bytes:
    """What is in a directory of modules, and in nothing else that this Python sees (-S)."""
    asked = ["environment", "-S", "--output-reproducible", "--spec-version", SPECIFICATION]
    project = ["--pyproject", str(pins.ROOT / "pyproject.toml")]
    return subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", *asked, *project, sys.executable],
        env={**tree.environment(), "PYTHONPATH": str(modules)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
