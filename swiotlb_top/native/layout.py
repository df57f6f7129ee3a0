"""What Python and the core share: the structures and functions of core.h."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_int64, c_uint8, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from struct import Struct
from typing import Any, Final

ADDRESS_UNKNOWN: Final = 0xFFFF_FFFF_FFFF_FFFF
"""``tlb_addr`` of a mapping that a snapshot showed."""

MAPPING: Final = Struct("<IIQQQQQ")
"""``struct mapping``: nslots, pad_slots, alloc_size, orig_addr, dev, tlb_addr, made_by."""


class Order(IntEnum):
    """``enum search_order``."""

    EACH_POOL_EVERY_AREA = 0
    EACH_OFFSET_EVERY_POOL = 1


class Device(ctypes.Structure):
    """``struct device``."""

    _fields_ = (
        ("dev", c_uint64),
        ("min_align_mask", c_uint64),
        ("seg_boundary_mask", c_uint64),
        ("phys_limit", c_uint64),
    )


class Pool(ctypes.Structure):
    """``struct pool``."""

    _fields_ = (
        ("address", c_uint64),
        ("start", c_uint64),
        ("since_ns", c_uint64),
        ("nslabs", c_uint32),
        ("nareas", c_uint32),
        ("area_nslabs", c_uint32),
        ("unused", c_uint32),
        ("free", POINTER(c_uint64)),
        ("area_used", POINTER(c_int64)),
        ("area_index", POINTER(c_uint32)),
        ("area_searched", POINTER(c_uint8)),
        ("live", c_void_p),
    )


class Walk(ctypes.Structure):
    """``struct walk``."""

    _fields_ = (
        ("period", c_uint64),
        ("step", c_uint64),
        ("stride", c_uint64),
        ("match_mask", c_uint64),
        ("aligned", c_uint64),
        ("boundary_slots", c_uint64),
        ("boundary_shift", c_uint64),
    )


class WalkClass(ctypes.Structure):
    """``struct walk_class``."""

    _fields_ = (
        ("device", c_uint32),
        ("alloc_align_mask", c_uint32),
        ("page_or_more", c_uint32),
        ("no_orig_addr", c_uint32),
        ("walks", POINTER(Walk)),
    )


class Allocator(ctypes.Structure):
    """``struct allocator``."""

    _fields_ = (
        ("pools", POINTER(Pool)),
        ("devices", POINTER(Device)),
        ("classes", POINTER(WalkClass)),
        ("npools", c_uint32),
        ("ndevices", c_uint32),
        ("nclasses", c_uint32),
        ("order", c_uint32),
        ("default_nareas", c_uint32),
        ("pads_slots", c_uint32),
        ("rounds_size", c_uint32),
        ("unused", c_uint32),
        ("told_from_ns", c_uint64),
        ("patience", c_int64),
        ("judged", c_uint64),
    )


HELD: Final = Struct("<IIQQ")
"""``struct held``: nslots, made_by, dev, exit_ns."""
NOT_OPEN: Final = 0xFFFF_FFFF_FFFF_FFFF
"""``exit_ns`` of a mapping whose end is not timed."""
LATEST: Final = 512


class PoolBooks(ctypes.Structure):
    """``struct pool_books``."""

    _fields_ = (
        ("address", c_uint64),
        ("start", c_uint64),
        ("since_ns", c_uint64),
        ("nslabs", c_uint64),
        ("used_slots", POINTER(c_int64)),
        ("live", c_void_p),
    )


class Latest(ctypes.Structure):
    """``struct latest``."""

    _fields_ = (("count", c_uint64), ("values", c_uint64 * LATEST))

    def in_order(self) -> list[int]:
        """The oldest first."""
        count = int(self.count)
        if count <= LATEST:
            return list(self.values[:count])
        return [*self.values[count % LATEST :], *self.values[: count % LATEST]]


class DeviceBooks(ctypes.Structure):
    """``struct device_books``."""

    _fields_ = (
        ("dev", c_uint64),
        ("min_align_mask", c_uint64),
        ("phys_limit", c_uint64),
        ("introduced", c_uint64),
        ("maps", c_uint64),
        ("unmaps", c_uint64),
        ("mapped_bytes", c_uint64),
        ("asked_slots", c_uint64),
        ("held_slots", c_int64),
        ("latency_sum_ns", c_uint64),
        ("longest_ns", c_int64),
        ("by_direction_bytes", c_uint64 * 5),
        ("sizes", c_uint64 * 9),
        ("tried", c_uint64 * 4),
        ("holds", c_uint64 * 10),
        ("cells", POINTER(c_uint64)),
        ("latencies", POINTER(Latest)),
        ("lifetimes", POINTER(Latest)),
    )


class Books(ctypes.Structure):
    """``struct books``."""

    _fields_ = (
        ("pools", POINTER(PoolBooks)),
        ("devices", POINTER(DeviceBooks)),
        ("latency_bounds", POINTER(c_uint64)),
        ("hold_bounds", POINTER(c_uint64)),
        ("npools", c_uint32),
        ("ndevices", c_uint32),
        ("nlatency_bounds", c_uint32),
        ("nhold_bounds", c_uint32),
        ("pads_slots", c_uint32),
        ("rounds_size", c_uint32),
        ("told_from_ns", c_uint64),
        ("used_slots", c_int64),
        ("used_hiwater_slots", c_int64),
    )


FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "sources": (c_uint32, ()),
    "lone_runs": (c_uint64, (c_void_p, c_uint64, c_uint64, c_void_p, c_void_p, c_void_p, c_uint64)),
    "resolved": (c_uint64, (POINTER(Allocator), c_void_p, c_uint64)),
    "judged": (c_uint64, (POINTER(Allocator), c_void_p, c_uint64)),
    "made": (c_uint64, (POINTER(Pool), c_void_p)),
    "counted": (c_uint64, (POINTER(Books), c_void_p, c_uint64)),
    "entered": (c_uint64, (POINTER(PoolBooks), c_void_p)),
}
"""The result of each function, and what it takes."""
