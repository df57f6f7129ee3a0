"""The guest's first file system: a cpio archive with busybox, the lab's init, the job and the kernel's modules."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Member:
    """One file or directory of the archive; `path` is relative to the root."""

    path: str
    mode: int
    """File type and permissions, as `stat.st_mode`."""
    data: bytes = b""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of a device node."""


def directory(path: str) -> Member:
    return Member(path, stat.S_IFDIR | 0o755)


def program(path: str, data: bytes) -> Member:
    return Member(path, stat.S_IFREG | 0o755, data)


def plain(path: str, data: bytes) -> Member:
    return Member(path, stat.S_IFREG | 0o644, data)


def character_device(path: str, major: int, minor: int) -> Member:
    return Member(path, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(members: Iterable[Member]) -> bytes:
    """`members` in the kernel's "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst).

    Not compressed: unpacking is the guest's work, and emulated guests are slow. Parents must come before children.
    """
    out = bytearray()
    for inode, member in enumerate([*members, Member(TRAILER, 0)], start=1):
        name = member.path.encode() + b"\0"
        fields = (inode, member.mode, 0, 0, 1, 0, len(member.data), 0, 0, *member.device, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (name, member.data):
            out += part
            out += bytes(-len(out) % 4)
    return bytes(out)
