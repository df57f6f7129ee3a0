"""``python -m tools.packages DIRECTORY`` (``make dist``): make all packages, and say how large they are."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.packages import deb, sbom, single_file, tree


def main(into: Path) -> None:
    """Write all packages into a directory."""
    sdist, wheel = tree.built(into)
    single = into / "swiotlb-top.pyz"
    single_file.make(wheel, single)
    for path in (sdist, wheel, single, deb.make(wheel, into), sbom.make(wheel, into)):
        print(f"{path.stat().st_size / 1e6:5.1f} MB  {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
