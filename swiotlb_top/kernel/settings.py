"""How this kernel was built, how it was booted, and what is switched off in it."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
_OPTION: Final = re.compile(r"^CONFIG_(\w+)=(.*)$", re.MULTILINE)

WANTED: Final[Mapping[str, str]] = {
    "SWIOTLB": "there is nothing to watch",
    "BPF_SYSCALL": "no probes",
    "BPF_EVENTS": "no probes",
    "BPF_JIT": "no fentry",
    "KPROBES": "no second way of probing",
    "DEBUG_INFO_BTF": "swiotlb's structures are not known",
    "KALLSYMS": "nothing is found",
    "KALLSYMS_ALL": "the allocator is not found",
    "DEBUG_FS": "no counters of swiotlb's own",
}
"""The options that a kernel should be built with, without "CONFIG_", and what is lost without each."""


@dataclass(frozen=True, slots=True)
class Build:
    """The configuration a kernel was built with."""

    source: Path
    options: Mapping[str, str]
    """Without "CONFIG_": "SWIOTLB" -> "y". What is not set is not there."""


def build(release: str, root: Path = ROOT) -> Build | None:
    """The kernel's configuration from /proc/config.gz, else from /boot; None if neither can be read."""
    for path in (root / "proc/config.gz", root / "boot" / f"config-{release}"):
        try:
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        except (OSError, EOFError, zlib.error):
            continue
        options = dict(_OPTION.findall(raw.decode(errors="replace")))
        if options:
            return Build(path, options)
    return None


def text(path: str, root: Path = ROOT) -> str:
    """The content of a small file below ``root``, without white space around it; empty if it cannot be read."""
    try:
        return (root / path).read_text(errors="replace").strip()
    except OSError:
        return ""


def boot_words(command_line: str) -> tuple[str, ...]:
    """What was asked of swiotlb at boot: ("512", "4", "force"); mirrors ``setup_io_tlb_npages()``.

    Words of several ``swiotlb=`` add up, and what follows ``--`` is not the kernel's.
    """
    words = command_line.partition(" -- ")[0].split()
    given = (word.removeprefix("swiotlb=") for word in words if word.startswith("swiotlb="))
    return tuple(part for value in given for part in value.split(",") if part)


def lockdown_level(shown: str) -> str:
    """The level in brackets of /sys/kernel/security/lockdown, "none [integrity] confidentiality"; empty: not there."""
    return shown.partition("[")[2].partition("]")[0]


def shows_anything(directory: Path) -> bool:
    """Whether a directory can be read and is not empty."""
    try:
        return any(directory.iterdir())
    except OSError:
        return False
