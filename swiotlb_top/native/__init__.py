"""The native core: C that does what is common, a batch of packed records at a time. docs/native.md says why and what.

It is there where a compiler was when swiotlb-top was installed, and nothing needs it: what it does Python does as well,
and all that is rare Python alone does. ``SWIOTLB_TOP_NATIVE=0`` in the environment leaves it out.
"""

from __future__ import annotations

import ctypes
import os
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Final

from swiotlb_top import records
from swiotlb_top.native.layout import FUNCTIONS

SWITCH: Final = "SWIOTLB_TOP_NATIVE"
LIBRARY: Final = "core.so"
SOURCES: Final = ("books.c", "core.h", "lone.c")


def core() -> ctypes.CDLL | None:
    """The core; None where it was not built, or was built of other sources than those beside it, or is left out."""
    left_out = os.environ.get(SWITCH) == "0" or sys.byteorder != "little"  # records are read where they lie
    return None if left_out else loaded(Path(__file__).parent)


def sources_crc(directory: Path) -> int:
    """CRC-32 of the sources in a directory, and of what Python knows of a record.

    :raises OSError: they are not there.
    """
    crc = 0
    for source in (Path(records.__file__), *(directory / name for name in SOURCES)):
        crc = zlib.crc32(source.read_bytes(), crc)
    return crc


@cache
def loaded(directory: Path) -> ctypes.CDLL | None:
    """The core that was built in a directory, of the sources there; None if there is none."""
    try:
        library = ctypes.CDLL(str(directory / LIBRARY))
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        return library if library.sources() == sources_crc(directory) else None
    except (OSError, AttributeError):
        return None
