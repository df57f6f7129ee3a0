"""Where the kernel's types are told: by the kernel itself, or if it was built without that, by a file of its build.

A file is believed only if it has the build id of the kernel that runs, which ``/sys/kernel/notes`` tells. BTF alone
(as pahole writes it) has no build id: it is believed if somebody names it, with the environment variable
:data:`BY_NAME`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
BY_NAME: Final = "SWIOTLB_TOP_BTF"

_PLACES: Final = (
    # as libbpf's btf__load_vmlinux_btf() has them
    "boot/vmlinux-{0}",
    "lib/modules/{0}/vmlinux-{0}",
    "lib/modules/{0}/build/vmlinux",
    "usr/lib/modules/{0}/kernel/vmlinux",
    "usr/lib/debug/boot/vmlinux-{0}",
    "usr/lib/debug/boot/vmlinux-{0}.debug",
    "usr/lib/debug/lib/modules/{0}/vmlinux",
)
_ELF: Final = b"\x7fELF\x02\x01"  # of 64 bits, little endian
_HEADER: Final = struct.Struct("<40xQ10xHHH")
"""``Elf64_Ehdr``: where the section headers are, how large each is, how many, and which has their names"""
_SECTION: Final = struct.Struct("<II16xQQ")
"""``Elf64_Shdr``: name, type, offset, size"""
_SECTION_BYTES: Final = 64
_MOST_SECTIONS: Final = 4096
_NOTE: Final = struct.Struct("<III")
"""``Elf64_Nhdr``: bytes of the name, bytes of what it says, type"""
_BUILD_ID: Final = (b"GNU\0", 3)
_MOST_BYTES: Final = 64 << 20
"""No kernel's BTF is as large."""


@dataclass(frozen=True, slots=True)
class TypesFile:
    """A file that has BTF."""

    path: Path
    of_kernel: bool
    """Whether it is the running kernel's own, to whose numbers of types it holds."""

    def read(self) -> bytes:
        """The BTF. :raises OSError: it cannot be read. :raises ValueError: it has none."""
        with self.path.open("rb") as file:
            if self.of_kernel or file.read(len(_ELF)) != _ELF:
                file.seek(0)
                return file.read(_MOST_BYTES)
        found = _section(self.path, ".BTF")
        if found is None:
            raise ValueError(f"{self.path} has no section .BTF")
        return found


def find(release: str, root: Path = Path("/")) -> TypesFile | None:
    """The file to read the kernel's types from; None if there is none.

    :param root: the directory that has sys/, boot/, lib/ and usr/.
    """
    named = os.environ.get(BY_NAME)
    if named:
        return TypesFile(Path(named), of_kernel=False)
    own = root / VMLINUX.relative_to("/")
    if os.access(own, os.R_OK):
        return TypesFile(own, of_kernel=True)
    build_id = _build_id(_bytes(root / "sys/kernel/notes"))
    if build_id is None:
        return None
    places = (root / place.format(release) for place in _PLACES)
    same = (place for place in places if _build_id(_section(place, ".notes") or b"") == build_id)
    return next((TypesFile(place, of_kernel=False) for place in same if _section(place, ".BTF")), None)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _section(path: Path, wanted: str) -> bytes | None:
    """A section of an ELF file; None if the file cannot be read, is no ELF, or has no such section."""
    try:
        with path.open("rb") as file:
            if file.read(len(_ELF)) != _ELF:
                return None
            file.seek(0)
            at, size, count, names = _HEADER.unpack(file.read(_HEADER.size))
            if size != _SECTION_BYTES or count > _MOST_SECTIONS or names >= count:
                return None
            file.seek(at)
            table = file.read(size * count)
            headers = [_SECTION.unpack_from(table, number * size) for number in range(count)]
            file.seek(headers[names][2])
            strings = file.read(min(headers[names][3], _MOST_BYTES))
            for name, _, offset, length in headers:
                if strings[name : name + len(wanted) + 1] == wanted.encode() + b"\0" and length <= _MOST_BYTES:
                    file.seek(offset)
                    return file.read(length)
    except (OSError, struct.error, ValueError, OverflowError):  # the latter two: a place that no file has
        return None
    return None


def _build_id(notes: bytes) -> bytes | None:
    """The build id among ELF notes."""
    return next((said for name, kind, said in _notes(notes) if (name, kind) == _BUILD_ID), None)


def _notes(notes: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    at = 0
    while at + _NOTE.size <= len(notes):
        name_bytes, said_bytes, kind = _NOTE.unpack_from(notes, at)
        name_at = at + _NOTE.size
        said_at = name_at + (name_bytes + 3 & ~3)
        at = said_at + (said_bytes + 3 & ~3)
        yield notes[name_at : name_at + name_bytes], kind, notes[said_at : said_at + said_bytes]
