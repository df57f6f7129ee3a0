"""A mapping: slots of a pool that are in use, and the device that has them."""

from __future__ import annotations

from typing import Final, NamedTuple

UNKNOWN_DEVICE: Final = 0
"""The device of a mapping that was made before recording began."""


class Mapping(NamedTuple):
    """Slots in use. ``slot`` is the first of ``nslots``, of which ``pad_slots`` precede the buffer.

    ``alloc_size_bytes`` is what was asked, padding included. Where the mapping was found in a
    snapshot it lacks the bytes before the buffer in its first slot (the kernel does not keep
    them), and ``dev`` is :data:`UNKNOWN_DEVICE`.
    """

    slot: int
    nslots: int
    pad_slots: int
    alloc_size_bytes: int
    orig_addr: int
    dev: int
