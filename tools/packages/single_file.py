"""The single file: a zip that Python runs as it is, with all that the tool imports but bcc, which Debian has.

It is made with the standard library's zipapp, because Python imports from such a file without unpacking it. What other
tools make (shiv, pex) unpacks itself into a home directory, on the disk that may be the one that is stalled.
"""

from __future__ import annotations

import tempfile
import zipapp
import zipfile
from pathlib import Path
from typing import Final

from tools.packages import tree

INTERPRETER: Final = "/usr/bin/python3 -I"
"""Debian's, which sees Debian's bcc; -I: and neither the working directory's modules nor those in root's home."""
_MAIN: Final = "import sys\n\nfrom swiotlb_top.__main__ import run\n\nsys.exit(run())\n"


def make(wheel: Path, target: Path) -> None:
    """Write the single file."""
    with tempfile.TemporaryDirectory() as scratch:
        laid, plain = Path(scratch, "modules"), Path(scratch, "plain.zip")
        tree.modules(wheel, laid)
        (laid / "__main__.py").write_text(_MAIN)
        _zip(laid, plain)
        zipapp.create_archive(plain, target, INTERPRETER)
        target.chmod(0o755)


def _zip(directory: Path, target: Path) -> None:
    """In an order and with times that are always the same, which zipapp's own are not."""
    with zipfile.ZipFile(target, "w") as written:
        for path in tree.files(directory):
            name = path.relative_to(directory).as_posix()
            entry = zipfile.ZipInfo(name, tree.day().timetuple()[:6])
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            written.writestr(entry, path.read_bytes(), compresslevel=9)
