"""The kernel comes out of a bzImage as its build put it in."""

from __future__ import annotations

import lzma
import struct
import subprocess

import pytest

from tests.lab.harness import bzimage
from tests.lab.harness.errors import LabUnavailableError

KERNEL = bzimage.ELF + bytes(range(256)) * 64
SETUP_SECTORS = 3
OFFSET = 100


def image(payload: bytes) -> bytes:
    """As much of a bzImage as counts here: its header, code before what is packed, and code behind it."""
    setup = bytearray((SETUP_SECTORS + 1) * bzimage.SECTOR_BYTES)
    setup[bzimage.SETUP_SECTORS_AT] = SETUP_SECTORS
    setup[bzimage.MAGIC_AT : bzimage.MAGIC_AT + 4] = bzimage.MAGIC
    struct.pack_into("<II", setup, bzimage.PAYLOAD_AT, OFFSET, len(payload))
    return bytes(setup) + b"\x90" * OFFSET + payload + b"\x90" * 1000


def with_size(packed: bytes) -> bytes:
    return packed + struct.pack("<I", len(KERNEL))


@pytest.mark.parametrize("packer", ["xz --check=crc32", "zstd", "lz4 -l"])
def test_it_is_as_it_was_before(packer: str) -> None:
    """As scripts/Makefile.lib of a kernel packs it."""
    packed = subprocess.run([*packer.split(), "-c"], input=KERNEL, capture_output=True, check=True).stdout
    assert bzimage.vmlinux(image(with_size(packed))) == KERNEL


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"", "no bzImage"),
        (image(with_size(b"\x1f\x8b\x08 and more")), "packed in a way not known here: it begins 1f8b08"),
        (image(with_size(lzma.compress(KERNEL)[:-100])), "xz: "),
        (image(with_size(lzma.compress(b"another file"))), "no ELF file"),
    ],
    ids=["none", "gzip", "cut short", "no kernel"],
)
def test_what_cannot_be_unpacked_is_told_of_by_name(broken: bytes, words: str) -> None:
    with pytest.raises(LabUnavailableError, match=words):
        bzimage.vmlinux(broken)
