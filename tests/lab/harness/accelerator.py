"""KVM where it works, else emulation. That /dev/kvm exists proves nothing, so a kernel is booted to find out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from tests.lab.harness.architectures import Architecture
from tests.lab.harness.kernels import KernelImage
from tests.lab.harness.requirements import output_of

PROBE_DEADLINE_S = 60.0
MEMORY = "kvm.json"


def choose(root: Path, image: KernelImage, *, icount: bool) -> str:
    """A key of `ACCELERATORS`. What is found out about KVM is kept in `root` until the host boots anew."""
    if image.architecture.is_the_hosts and not icount and _kvm_is_open() and _remembered(root) is None:
        _remember(root, kvm_works(image))
    return foretold(root, image, icount=icount)


def foretold(root: Path, image: KernelImage, *, icount: bool) -> str:
    """As `choose`, without booting anything: where KVM was not tried since the host booted, emulation is named."""
    if icount:
        return "icount"
    return "kvm" if image.architecture.is_the_hosts and _kvm_is_open() and _remembered(root) else "tcg"


def keeps_stale_code(how: str, threads: int, architecture: Architecture) -> bool:
    """Whether a panic may be the emulator's.

    With several threads, one for each CPU, QEMU before 8.1 may translate code that another CPU writes meanwhile, and
    keep that (its commit deba78709ae8, "accel/tcg: Always lock pages before translation"). A kernel then traps on code
    that it has patched: while it boots, or where probes are attached and detached.
    """
    return how == "tcg" and threads > 1 and _version(output_of(architecture.qemu, "--version")) < (8, 1)


def _version(said: str) -> tuple[int, ...]:
    found = re.search(r"version (\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def kvm_works(image: KernelImage) -> bool:
    """True if a kernel gets as far as its panic for want of a root file system, which ends QEMU.

    A KVM that fails stops the guest and leaves QEMU waiting ("KVM internal error"); hence the deadline.
    """
    with tempfile.TemporaryDirectory(prefix="swiotlb-lab-") as directory:
        console = Path(directory) / "console.log"
        architecture = image.architecture
        command = ["setpriv", "--pdeathsig", "KILL", architecture.qemu, *architecture.accelerators["kvm"]]
        command += ["-m", "512", "-nodefaults"]
        command += ["-no-reboot", "-display", "none", "-serial", f"file:{console}", "-kernel", str(image.bootable)]
        command += ["-append", f"console={architecture.console} panic=-1"]
        try:
            subprocess.run(command, capture_output=True, timeout=PROBE_DEADLINE_S, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            return False
        return b"Linux version" in console.read_bytes()


def _kvm_is_open() -> bool:
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _remembered(root: Path) -> bool | None:
    try:
        answer = json.loads((root / MEMORY).read_text())
    except (OSError, ValueError):
        return None
    return bool(answer["works"]) if answer.get("boot_id") == _boot_id() else None


def _remember(root: Path, works: bool) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / MEMORY).write_text(json.dumps({"boot_id": _boot_id(), "works": works}) + "\n")
