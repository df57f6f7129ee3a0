"""What the image holds: of Debian 13 what bcc needs, the files of the Debian package, and the SBOM of both.

mmdebstrap unpacks Debian's packages without installing them: no shell and no script of theirs is needed to run Python.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Final

from tools.packages import sbom, tree

SUITE: Final = "trixie"
RELEASE: Final = "13"
PACKAGES: Final = ("base-files", "python3-bcrypt", "python3-bpfcc", "python3-yaml")
"""base-files says which Debian this is; what the package depends on and recommends."""
BILL: Final = "usr/share/doc/swiotlb-top/sbom.cdx.json"
_LEFT_OUT: Final = (
    "/usr/share/*",
    "/usr/lib/*/gconv/*",
    "/usr/lib/python3.*/test/*",
    "/usr/lib/python3.*/pydoc_data/*",
)
"""What programs do not need to run, but for what follows."""
_KEPT: Final = ("/usr/share/doc/*", "/usr/share/zoneinfo/*")
_OF_THIS_MACHINE: Final = ("etc/apt", "etc/fstab", "etc/hostname", "etc/resolv.conf", "var/cache", "var/lib/apt")
"""What mmdebstrap leaves in a root of the machine that it runs on, and of itself."""
_STATUS: Final = (
    'for deb in "$1"/var/cache/apt/archives/*.deb; do '
    "dpkg-deb --field \"$deb\" | sed '/^Package:/aStatus: install ok installed'; echo; "
    'done >"$1/var/lib/dpkg/status"'
)
"""What dpkg would write if it installed them: which packages there are, for whoever looks for holes in them."""
_COMPILED: Final = (
    "usr/lib/python3.13",
    *(f"usr/lib/swiotlb-top/{name}" for name in ("click", "prometheus_client", "swiotlb_exporter", "swiotlb_top")),
)
"""What an exporter imports: a root that is read only keeps nothing that Python compiles when it runs."""


def lay_out(package: Path, bill: Path, root: Path) -> None:
    """Lay all of it out in a directory, which need not exist."""
    _debian(root)
    subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    subprocess.run(["rm", "-rf", *(root / name for name in _OF_THIS_MACHINE)], check=True)
    # Of the documents, the licences. The directories of some packages are links to those of others.
    documents = ("-type", "f", "!", "-name", "copyright", "-delete")
    subprocess.run(["find", root / "usr/share/doc", *documents], check=True)
    (root / "var/cache/swiotlb-top").mkdir(parents=True, mode=0o755)
    quiet = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
    subprocess.run(["chroot", root, "/usr/bin/python3", *quiet, *_COMPILED], stdin=subprocess.DEVNULL, check=True)
    _bill(bill, root)


def _debian(root: Path) -> None:
    filtered = [*(f"path-exclude={path}" for path in _LEFT_OUT), *(f"path-include={path}" for path in _KEPT)]
    options = [f"--dpkgopt={option}" for option in filtered]
    wanted = f"--include={','.join(PACKAGES)}"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=extract", wanted, *options, f"--extract-hook={_STATUS}", SUITE, str(root)],
        env=tree.environment(),
        stdin=subprocess.DEVNULL,
        check=True,
    )


def _bill(bill: Path, root: Path) -> None:
    """The SBOM of Debian's packages, and with it that of what the tool brings along."""
    architecture = subprocess.run(["dpkg", "--print-architecture"], stdout=subprocess.PIPE, check=True).stdout.decode()
    scanned = ("--root", str(root), "--with-licenses", "--distro-arch", architecture.strip())
    with tempfile.TemporaryDirectory() as scratch:
        debian = Path(scratch, "debian.cdx.json")
        debian.write_bytes(_debsbom("generate", *scanned, of="debian", version=RELEASE))
        both = _debsbom("merge", str(debian), str(bill), of="swiotlb-top-image", version=tree.version())
    (root / BILL).write_bytes(both)


def _debsbom(what: str, *asked: str, of: str, version: str) -> bytes:
    said = {
        "--sbom-type": "cdx",
        "--cdx-schema-version": sbom.SPECIFICATION,
        "--cdx-serialnumber": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{of} {version}")),
        "--timestamp": tree.day().isoformat(),
        "--distro-name": of,
        "--distro-version": version,
        "--out": "-",
    }
    command = [sys.executable, "-m", "debsbom.cli", what, *(word for option in said.items() for word in option), *asked]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
