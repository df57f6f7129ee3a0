r"""The on-disk contract of ``.swtrace``: a preamble, then frames in stream order, the last of them END.

All integers are little endian. JSON is UTF-8; a reader ignores keys it does not know.

========  =====================================================================================
preamble  ``magic`` 8 bytes "SWTRACE\n" · ``format`` u32 · ``crc`` u32 of the 12 bytes before
frame     ``type`` u32 · ``length`` u32 of the payload · ``crc`` u32 · payload
========  =====================================================================================

A frame's crc is CRC-32 (zlib) of type, length and payload, continued from the crc before it (the
preamble's, then each frame's): a frame lost, doubled or moved is damage, as a flipped bit is.

====  ===========  ========  ==================================================================
type  name         how many  payload
====  ===========  ========  ==================================================================
1     HEADER       1, first  JSON: the fields of :class:`.items.Header`; ``kernel`` holds those of
                             ``KernelInfo``. Its CPUs are in ``cpu_numbers``, as the kernel lists them
                             ("0-3,8"), and ``cpus`` is the highest + 1; where there is no
                             ``cpu_numbers``, ``cpus`` is how many were online. ``hook_places`` has the
                             fields of each ``HookPlace`` that are not empty, and ``hooks`` its name and
                             itself in words; at first ``hooks`` stood alone. ``extras`` is an empty
                             object, which the first readers want
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
O+1   KNOWN        any       JSON: the fields of :class:`.items.Known`
====  ===========  ========  ==================================================================

O is :data:`OPTIONAL_BIT`. A recording without KNOWN frames, as they were at first, does not tell which calls
were under way when it ended: what disagrees in it, and may be the work of such a call, is inconclusive.

Byte planes: all first (lowest) bytes of an array's elements, then all second bytes, and so on.

Evolution: JSON keys may be added. A frame type with :data:`OPTIONAL_BIT` may be added: who does not
know it skips it. Any other new frame type, codec or meaning needs a newer ``format``; the preamble
stays as it is for ever, so that every reader can say which format it met.

Limits. A recording comes from strangers, and every number in it that decides how much is allocated or how
long is looped has a bound. A reader refuses what is beyond, and gives what came before it; a writer keeps to
the bounds as well. They are far beyond what real machines have:

==========================================  ====================  ==========================================
what                                        limit                 that is
==========================================  ====================  ==========================================
payload of a frame                          MAX_PAYLOAD_BYTES     by type; of an unknown, optional frame 16 MiB
records of a RECORDS frame                  MAX_BLOCK_RECORDS     4 MiB of them
records of a byte of a RECORDS payload      MAX_RECORDS_A_BYTE    so that work is in proportion to a file;
                                                                  zlib cannot have more
pools of a STATE: slots, areas together     MAX_STATE_SLOTS       8 GiB of bounce buffers
pools that are there at one time            MAX_POOLS             transient ones with them
    their slots together                    MAX_POOLS_SLOTS       128 GiB of bounce buffers
    their areas together                    MAX_POOLS_AREAS       64 areas in each of 16,384 pools
CPU numbers, and areas of one pool          MAX_CPUS              the most that Linux can be built for
devices, by ``struct device`` address       MAX_DEVICES           the recording's, from first to last
physical addresses                          MAX_PHYS_ADDR         52 bits, as x86-64 and arm64 have
times, and durations of a recording         MAX_TIME_NS           146 years of uptime
how far a time may lie before another       MAX_LATE_NS           a minute, of what stands later in the file
text                                        MAX_TEXT              printable characters
other counts and addresses                  MAX_U64               64 bits
==========================================  ====================  ==========================================

What no kernel can have is refused, too: a pool whose areas are no equal parts of it, one that overlaps another
or lies on no page, a static allocator that grows, a free run longer than a slot set, a segment boundary that is no
power of two.

A recording that is ``partial`` has a GAP after each STATE, before any call: calls are left out that decide where others
lie, so that a judge that began from the state would claim what it cannot know. A reader that does not know ``partial``
knows the gap; one that does refuses calls without it.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import Final

from swiotlb_top.cpus import LIMIT

MAGIC: Final = b"SWTRACE\n"
FORMAT: Final = 1
PREAMBLE: Final = struct.Struct("<8sII")
FRAME: Final = struct.Struct("<III")
OPTIONAL_BIT: Final = 0x8000_0000

MAX_BLOCK_RECORDS: Final = 65_536
MAX_RECORDS_A_BYTE: Final = 20
MAX_STATE_SLOTS: Final = 1 << 22
MAX_POOLS: Final = 1 << 16
MAX_POOLS_SLOTS: Final = 1 << 26
MAX_POOLS_AREAS: Final = 1 << 20
MAX_CPUS: Final = LIMIT
MAX_DEVICES: Final = 1 << 16
MAX_PHYS_ADDR: Final = (1 << 52) - 1
MAX_TIME_NS: Final = (1 << 62) - 1
MAX_LATE_NS: Final = 60_000_000_000
MAX_TEXT: Final = 1 << 16
MAX_U64: Final = (1 << 64) - 1


class FrameType(IntEnum):
    """What a frame holds."""

    HEADER = 1
    STATE = 2
    RECORDS = 3
    DEVICE_NAME = 4
    GAP = 5
    END = 6
    KNOWN = OPTIONAL_BIT | 1


_MIB: Final = 1 << 20
MAX_PAYLOAD_BYTES: Final[dict[int, int]] = {
    FrameType.HEADER: _MIB,
    FrameType.STATE: 128 * _MIB,
    FrameType.RECORDS: 8 * _MIB,
    FrameType.DEVICE_NAME: _MIB,
    FrameType.GAP: _MIB,
    FrameType.END: _MIB,
    FrameType.KNOWN: _MIB,
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
