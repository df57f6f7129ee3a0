"""The kernel inside a bzImage. QEMU starts it directly (PVH, Linux 4.20), and an emulated guest need not unpack it.

Where things are: Documentation/arch/x86/boot.rst, protocol 2.08 (Linux 2.6.26).
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping
from types import MappingProxyType

from tests.lab.harness.errors import LabUnavailableError

SETUP_SECTORS_AT = 0x1F1
SECTOR_BYTES = 512
MAGIC_AT = 0x202
MAGIC = b"HdrS"
PAYLOAD_AT = 0x248
"""Its offset from the protected-mode code, and its length."""
SIZE_BYTES = 4
"""What the kernel's build appends to all that it compresses: the size before."""
ELF = b"\x7fELF"

# {first bytes: the program that unpacks it}
UNPACKED_BY: Mapping[bytes, str] = MappingProxyType(
    {b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}
)


def vmlinux(bzimage: bytes) -> bytes:
    """The ELF file that a bzImage unpacks when it boots. LabUnavailableError if it is none that is known here."""
    if bzimage[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
        raise LabUnavailableError("the kernel image is no bzImage")
    code_at = (bzimage[SETUP_SECTORS_AT] + 1) * SECTOR_BYTES
    offset, length = struct.unpack_from("<II", bzimage, PAYLOAD_AT)
    payload = bzimage[code_at + offset :][: length - SIZE_BYTES]
    program = next((program for magic, program in UNPACKED_BY.items() if payload.startswith(magic)), None)
    if program is None:
        raise LabUnavailableError(f"the kernel image is packed in a way not known here: it begins {payload[:6].hex()}")
    done = subprocess.run([program, "-dc"], input=payload, capture_output=True, check=False)
    if done.returncode or not done.stdout.startswith(ELF):
        raise LabUnavailableError(f"the kernel image: {program}: {done.stderr.decode().strip() or 'no ELF file in it'}")
    return done.stdout
