"""Machines that the reference is not true of."""

from __future__ import annotations

from typing import Final

NOT_JUDGED: Final = [
    ("aarch64", 65536, "little", "it has pages of 64 KiB"),
    ("aarch64", 16384, "little", "it has pages of 16 KiB"),
    ("aarch64", 0, "", "the size of its pages is not known"),
    ("s390x", 4096, "big", "it is big endian"),
    ("x86_64", 8192, "little", "it has pages of 8 KiB"),
]
"""``uname -m``, the size of a page in bytes, the byte order, and why a kernel of such a machine is not judged."""
