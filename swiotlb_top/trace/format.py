"""The on-disk contract of ``.swtrace``: a preamble, then frames in stream order, the last of them END.

All integers are little endian. JSON is UTF-8; a reader ignores keys it does not know.

========  =====================================================================================
preamble  ``magic`` 8 bytes "SWTRACE\\n" · ``format`` u32 · ``crc`` u32 of the 12 bytes before
frame     ``type`` u32 · ``length`` u32 of the payload · ``crc`` u32 · payload
========  =====================================================================================

A frame's crc is CRC-32 (zlib) of type, length and payload, continued from the crc before it (the
preamble's, then each frame's): a frame lost, doubled or moved is damage, as a flipped bit is.

====  ===========  ========  ==================================================================
type  name         how many  payload
====  ===========  ========  ==================================================================
1     HEADER       1, first  JSON: the fields of :class:`.items.Header`; ``kernel`` holds those of
                             ``KernelInfo``, ``extras`` is flat
2     STATE        any       ``meta_length`` u32 · JSON: the fields of ``MemState`` and of each of
                             ``pools`` but the per-area and per-slot ones · zlib stream of these,
                             pool by pool: ``used`` u32, ``index`` u32 (nareas each), ``list`` u32,
                             ``orig_addr`` u64, ``alloc_size`` u64, ``pad_slots`` u32 (nslabs each),
                             each array as byte planes
3     RECORDS      any       ``codec`` u32 · ``count`` u32 · ``struct record``s (bpf/record.h) as
                             that codec packs them: :mod:`.codecs`
4     DEVICE_NAME  any       JSON: the fields of ``DeviceName``
5     GAP          any       JSON: the fields of ``Gap``
6     END          1, last   JSON: the fields of :class:`.items.End`, and ``complete`` true
====  ===========  ========  ==================================================================

Byte planes: all first (lowest) bytes of an array's elements, then all second bytes, and so on.

Evolution: JSON keys may be added. A frame type with :data:`OPTIONAL_BIT` may be added: who does not
know it skips it. Any other new frame type, codec or meaning needs a newer ``format``; the preamble
stays as it is for ever, so that every reader can say which format it met.

Limits (:data:`MAX_PAYLOAD_BYTES` and the two below) hold for writers too, and bound what a reader
allocates for a file nobody should trust.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import Final

MAGIC: Final = b"SWTRACE\n"
FORMAT: Final = 1
PREAMBLE: Final = struct.Struct("<8sII")
FRAME: Final = struct.Struct("<III")
OPTIONAL_BIT: Final = 0x8000_0000

MAX_BLOCK_RECORDS: Final = 65_536
"""Records in one RECORDS frame: 4 MiB unpacked."""
MAX_STATE_SLOTS: Final = 4_194_304
"""Slots of all pools of one STATE frame: 8 GiB of bounce buffers, which take some 0.4 GB to read."""


class FrameType(IntEnum):
    """What a frame holds."""

    HEADER = 1
    STATE = 2
    RECORDS = 3
    DEVICE_NAME = 4
    GAP = 5
    END = 6


_MIB: Final = 1 << 20
MAX_PAYLOAD_BYTES: Final[dict[int, int]] = {
    FrameType.HEADER: _MIB,
    FrameType.STATE: 128 * _MIB,
    FrameType.RECORDS: 8 * _MIB,
    FrameType.DEVICE_NAME: _MIB,
    FrameType.GAP: _MIB,
    FrameType.END: _MIB,
}
MAX_OPTIONAL_PAYLOAD_BYTES: Final = 16 * _MIB
"""Payload of a frame this reader does not know and may skip."""


def preamble() -> bytes:
    """The first 16 bytes of a trace."""
    unchecked = PREAMBLE.pack(MAGIC, FORMAT, 0)
    return PREAMBLE.pack(MAGIC, FORMAT, preamble_crc(unchecked))


def preamble_crc(start: bytes) -> int:
    """CRC-32 of a preamble's magic and format; what the first frame's crc continues from."""
    return zlib.crc32(start[: PREAMBLE.size - 4])


def frame_crc(frame_type: int, payload: bytes, previous_crc: int) -> int:
    """CRC-32 of a frame that follows one (or a preamble) whose crc is ``previous_crc``."""
    head = FRAME.pack(frame_type, len(payload), 0)[:-4]
    return zlib.crc32(payload, zlib.crc32(head, previous_crc))
