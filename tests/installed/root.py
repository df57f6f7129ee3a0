"""A root directory in which commands are run, with this kernel and its devices."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from swiotlb_top.probes.compile import plan
from swiotlb_top.probes.compile.flags import compiler_flags
from tests.kernels import layout_of

DEADLINE_S: Final = 900.0
WITH_KERNEL: Final = """
for each in proc sys dev; do mount --rbind /$each "$0/$each" || exit; done; mount -t tmpfs none "$0/dev/shm" &&
exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$0" "$@"
"""
COMPILE: Final = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from swiotlb_top.probes.compile.images import compiled
from swiotlb_top.probes.compile.shelf import Shelf
image = compiled(tuple(json.loads(sys.argv[2])), Shelf(pathlib.Path("/nonexistent")))
print(len(image.packed()) > 10_000)
"""


@dataclass(frozen=True)
class Root:
    """A root directory that has the tool."""

    directory: Path
    python: str
    """The version of its Python."""

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in it, with this kernel's /proc, /sys and /dev."""
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", WITH_KERNEL, str(self.directory), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        with self.start(*command) as started:
            output, errors = started.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(command, started.returncode, output, errors)

    def compile_probes(self, modules: str) -> subprocess.CompletedProcess[str]:
        """Have its bcc compile the probes of a kernel, with the tool that lies at ``modules``. It prints True."""
        layout = layout_of("dynamic")
        flags = compiler_flags(layout, plan.make(layout, kprobes=False), spares=True)
        return self.run("python3", "-I", "-c", COMPILE, modules, json.dumps(flags))
