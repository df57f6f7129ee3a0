"""The Debian package, one for all releases: what the tool imports is inside, but for what only Debian has (bcc).

dpkg-deb packs a directory that is laid out here. debhelper would need a source package, and build for one release.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from email.parser import HeaderParser
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from tools.packages import tree

MAINTAINER: Final = "The swiotlb-top authors <swiotlb-top@localhost>"
_HERE: Final = Path(__file__).with_name("debian")
_DOC: Final = Path("usr/share/doc/swiotlb-top")
_LIBRARY: Final = Path("usr/lib/swiotlb-top")
_MOVED: Final = {
    "usr/share/swiotlb-top/systemd": "usr/lib/systemd/system",
    "usr/share/zsh/site-functions": "usr/share/zsh/vendor-completions",
}
"""Where Debian wants it, in place of where a prefix has it."""
_RUNS: Final = {"usr/bin/swiotlb-top", "DEBIAN/postinst", "DEBIAN/prerm"}
_OWN_LICENCE: Final = """\
swiotlb-top is free software, under the GNU General Public License, version 2 only. On Debian systems its text is in
/usr/share/common-licenses/GPL-2. What is in /usr/lib/swiotlb-top beside swiotlb_top and swiotlb_exporter are libraries
by others, each under the licence below.

Copyright: 2026 The swiotlb-top authors
"""
_APACHE: Final = """\
Under the Apache License, version 2.0. On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.
"""


def path(directory: Path) -> Path:
    """Where it is in a directory of packages."""
    return directory / f"swiotlb-top_{tree.version()}_all.deb"


def make(wheel: Path, into: Path) -> Path:
    """Write the package into a directory."""
    target = path(into)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        lay_out(wheel, root)
        packed = ("--root-owner-group", "-Zxz", "-z9", "--build", str(root), str(target))
        subprocess.run(["dpkg-deb", *packed], env=tree.environment(), stdout=subprocess.DEVNULL, check=True)
    return target


def lay_out(wheel: Path, root: Path) -> None:
    """Lay out a directory as dpkg-deb wants it."""
    tree.modules(wheel, root / _LIBRARY)
    tree.beside(wheel, root / "usr")
    for prefix, debian in _MOVED.items():
        (root / debian).parent.mkdir(parents=True, exist_ok=True)
        (root / prefix).rename(root / debian)
    _put(root / "usr/bin/swiotlb-top", (_HERE / "launcher").read_bytes())
    _put(root / _DOC / "copyright", "\n".join(_copyright(root / _LIBRARY)).encode())
    _drop_documents(root / _LIBRARY)
    _put(root / "usr/share/lintian/overrides/swiotlb-top", (_HERE / "lintian-overrides").read_bytes())
    _put(root / _DOC / "changelog.gz", _gzipped(_changelog().encode()))
    page = root / "usr/share/man/man1/swiotlb-top.1"
    _put(page.with_suffix(".1.gz"), _gzipped(page.read_bytes()))
    page.unlink()
    _control(root)
    tree.even(root, {root / name for name in _RUNS})


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _copyright(library: Path) -> Iterator[str]:
    """The licence of the tool and of each library in it, in the order of their names."""
    yield _OWN_LICENCE
    for info in sorted(library.glob("*.dist-info")):
        told = HeaderParser().parsestr((info / "METADATA").read_text())
        if told["Name"] != "swiotlb-top":
            yield f"\n{'-' * 80}\n{told['Name']} {told['Version']}\n"
            yield from (_licence(path.read_text()) for path in tree.files(info) if _is_licence(path))
    for path in tree.files(library):
        if _is_licence(path) and ".dist-info" not in str(path):
            yield f"\n{'-' * 80}\n{path.parent.relative_to(library)}\n"
            yield _licence(path.read_text())


def _is_licence(path: Path) -> bool:
    return path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))


def _licence(text: str) -> str:
    return _APACHE if "Version 2.0, January 2004" in text else text


def _drop_documents(library: Path) -> None:
    """Leave of each library its modules, and what names it and its version."""
    for path in tree.files(library):
        of_the_wheel = path.parent.name.endswith(".dist-info") and path.name != "METADATA"
        if of_the_wheel or _is_licence(path) or path.name == "README.md":
            path.unlink()
    for licences in library.glob("*.dist-info/*/"):
        shutil.rmtree(licences)


def _changelog() -> str:
    return (
        f"swiotlb-top ({tree.version()}) unstable; urgency=medium\n\n"
        "  * As CHANGELOG.md beside this file has it.\n\n"
        f" -- {MAINTAINER}  {format_datetime(tree.day())}\n"
    )


def _control(root: Path) -> None:
    """What dpkg reads."""
    kib = sum((path.stat().st_size + 1023) // 1024 for path in tree.files(root))
    said = {"@VERSION@": tree.version(), "@KIB@": str(kib), "@MAINTAINER@": MAINTAINER}
    control = (_HERE / "control").read_text()
    for word, value in said.items():
        control = control.replace(word, value)
    sums = "".join(
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(root)}\n"
        for path in tree.files(root)
    )
    _put(root / "DEBIAN/md5sums", sums.encode())
    _put(root / "DEBIAN/control", control.encode())
    for script in ("postinst", "prerm"):
        shutil.copy(_HERE / script, root / "DEBIAN")
