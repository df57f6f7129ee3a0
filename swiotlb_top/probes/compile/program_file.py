"""A program file: every image that machines with one kernel build may want, so that they need no compiler.

It is two lines of text and a compressed body::

    swiotlb-top program 1
    {"machine": "x86_64", "btf": ..., "body": ...}
    zlib of JSON: [[macros, image], ...]

The second line says for which kernel build the file is, and is enough to choose one file of many by. Images are found
by the macros that they were compiled with. Sizes are bounded, and what is not exactly as :func:`packed` writes it is
refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

from swiotlb_top.probes.compile.flags import Macros
from swiotlb_top.probes.compile.image import Image

SUFFIX: Final = ".swprog"
MOST_BYTES: Final = 2 << 20
"""Of a file. One for Debian's 6.12 has 113 KiB."""
HEAD_BYTES: Final = 2048
"""The first two lines are within it."""
_KIND: Final = b"swiotlb-top program "
_MAGIC: Final = _KIND + b"1\n"
_MOST_UNPACKED_BYTES: Final = 8 << 20
"""Of its body, which then has 0.7 MiB. As Python's objects it is up to 30 times as large."""
_MOST_IMAGES: Final = 1024
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_WORDS: Final = re.compile(r"[ -~]{0,100}")
_MACRO: Final = re.compile(r"\w{1,64}", re.ASCII)
_VALUE: Final = re.compile(r"[\w.-]{1,128}", re.ASCII)
_DIGESTS: Final = ("btf", "sources", "body")


@dataclass(frozen=True, slots=True)
class Made:
    """What a file's images were made for, and of what."""

    machine: str
    """As ``uname -m`` has it."""
    release: str
    """The kernel's, as ``uname -r`` has it; empty if nobody said it."""
    btf: str
    """SHA-256 of the kernel's BTF: one kernel build has one."""
    sources: str
    """SHA-256 of the C, as :func:`.bpf_files.digest` gives it."""
    tool: str
    """The version of swiotlb-top."""
    compiler: str
    """The version of bcc."""


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """A file's content."""

    made: Made
    images: Mapping[Macros, Image]
    """By what they were compiled with."""


def packed(content: ProgramFile) -> bytes:
    """The file."""
    text = json.dumps([[dict(sorted(macros)), image.packed()] for macros, image in content.images.items()])
    body = zlib.compress(text.encode(), 9)
    head = {**asdict(content.made), "body": hashlib.sha256(body).hexdigest()}
    return b"".join((_MAGIC, json.dumps(head).encode(), b"\n", body))


def unpacked(raw: bytes) -> ProgramFile:
    """Undo :func:`packed`. :raises ValueError: ``raw`` is no such file, or one that is damaged or cut."""
    made, digest, body_at = _head(raw)
    body = raw[body_at:]
    if hashlib.sha256(body).hexdigest() != digest:
        raise ValueError("it is damaged or cut: copy it again")
    pairs = _pairs(body)
    images = {macros: Image.unpacked(image) for macros, image in pairs}
    if len(images) != len(pairs):
        raise ValueError("two of its programs were compiled alike")
    return ProgramFile(made, images)


def made_for(raw: bytes) -> Made:
    """What a file is for, from its first :data:`HEAD_BYTES`. :raises ValueError: as :func:`unpacked`."""
    return _head(raw)[0]


def _head(raw: bytes) -> tuple[Made, str, int]:
    """What a file is for, the digest of its body, and where that begins."""
    if not raw.startswith(_MAGIC):
        if raw.startswith(_KIND) and b"\n" in raw[:HEAD_BYTES]:
            raise ValueError("another version of swiotlb-top wrote it: build it anew")
        raise ValueError("it does not begin as one")
    end = raw.find(b"\n", len(_MAGIC), HEAD_BYTES)
    try:
        said = json.loads(raw[len(_MAGIC) : end] if end >= 0 else b"")
    except (ValueError, RecursionError):
        said = None
    names = {field.name for field in fields(Made)}
    if not isinstance(said, dict) or said.keys() != names | {"body"}:
        raise ValueError("its second line does not say what it is for")
    for name, value in said.items():
        if not isinstance(value, str) or not (_DIGEST if name in _DIGESTS else _WORDS).fullmatch(value):
            raise ValueError(f"its second line has no proper {name!r}")
    return Made(**{name: said[name] for name in names}), said["body"], end + 1


def _pairs(body: bytes) -> list[tuple[Macros, str]]:
    decompress = zlib.decompressobj()
    try:
        text = decompress.decompress(body, _MOST_UNPACKED_BYTES)
        said = json.loads(text) if decompress.eof and not decompress.unused_data else None
    except (zlib.error, ValueError, RecursionError):
        said = None
    if not isinstance(said, list) or not 1 <= len(said) <= _MOST_IMAGES:
        raise ValueError("its body has no programs, or too many")
    return [_pair(one) for one in said]


def _pair(said: object) -> tuple[Macros, str]:
    match said:
        case [{**macros}, str(image)]:
            pairs = [(str(name), value) for name, value in macros.items() if isinstance(value, str)]
            proper = frozenset((n, value) for n, value in pairs if _MACRO.fullmatch(n) and _VALUE.fullmatch(value))
            if macros and len(proper) == len(macros):
                return proper, image
    raise ValueError("one of its programs does not say how it was compiled")
