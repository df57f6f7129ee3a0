"""Other builds of the native core: ``python -m tests.support.native_builds FILE`` makes one that checks itself.

AddressSanitizer and UndefinedBehaviorSanitizer end the process at the first access or operation that C does not allow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from swiotlb_top.native import SOURCES, sources_crc

ROOT: Final = Path(__file__).parents[2]
NATIVE: Final = ROOT / "swiotlb_top" / "native"
STRICT: Final = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
CHECKED: Final = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
HAVE_COMPILER: Final = shutil.which("gcc") is not None


def build(target: Path, *flags: str) -> Path:
    """Build the core with further flags of gcc."""
    sources = [str(NATIVE / name) for name in SOURCES if name.endswith(".c")]
    told = (f"-DSOURCES_CRC={sources_crc(NATIVE)}u", f"-I{ROOT / 'bpf'}", "-shared", "-fPIC", "-o", str(target))
    subprocess.run(["gcc", *STRICT, *flags, *told, *sources], check=True)
    return target


def checked_environment() -> dict[str, str]:
    """The environment in which Python can load a build with :data:`CHECKED`."""
    asked = ["gcc", "-print-file-name=libasan.so"]
    library = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    # Python itself frees nothing when it ends.
    return {**os.environ, "LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"}


if __name__ == "__main__":
    build(Path(sys.argv[1]), *CHECKED)
