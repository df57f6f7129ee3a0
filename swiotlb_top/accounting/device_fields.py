"""What is shown of a device: the fields of one row of :data:`swiotlb_top.accounting.fields.DEVICES`."""

from __future__ import annotations

from typing import Final

from swiotlb_top.accounting.field import RARE, Field, Origin, age_ns, known
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.snapshot import DeviceView
from swiotlb_top.accounting.units import Unit


def _full_in_ns(frame: Frame, device: DeviceView) -> int | None:
    slope = frame.slopes.get(device.dev)
    return slope.full_in_ns if slope and slope.full_in_ns >= 0 else None


_C, _E, _R, _S = Origin.COUNTERS, Origin.CALLS, Origin.RECORDING, Origin.STATE

DEVICES: Final[tuple[Field[DeviceView], ...]] = (
    Field("name", "DEVICE", Unit.WORDS, _S, 0, "The device, as /sys/bus names it.", lambda f, d: d.name),
    Field(
        "known_as",
        "KNOWN AS",
        Unit.WORDS,
        _S,
        2,
        "What people know it by: the disks or network interfaces below it in /sys, else its controller or SCSI host. "
        "Empty where there is none.",
        lambda f, d: d.known_as or None,
    ),
    Field("driver", "DRIVER", Unit.WORDS, _S, 2, "Its driver.", lambda f, d: d.driver or None),
    Field(
        "maps_per_second",
        "MAPS/s",
        Unit.PER_SECOND,
        _C,
        0,
        "Mappings made.",
        lambda f, d: f.device_rate(d, lambda t: t.maps),
    ),
    Field(
        "map_failures_per_second",
        "FAILED/s",
        Unit.PER_SECOND,
        _C,
        0,
        "Mappings that failed.",
        lambda f, d: f.device_rate(d, lambda t: t.map_failures),
    ),
    Field(
        "mapped_bytes_per_second",
        "MB/s",
        Unit.BYTES_PER_SECOND,
        _C,
        1,
        "Bytes of mappings made.",
        lambda f, d: f.device_rate(d, lambda t: t.mapped_bytes),
    ),
    Field(
        "held_maps",
        "HELD",
        Unit.COUNT,
        _C,
        4,
        "Mappings made since the source began, not yet released.",
        lambda f, d: d.held_maps,
    ),
    Field(
        "held_slots",
        "SLOTS",
        Unit.SLOTS,
        _R,
        5,
        "Slots of those mappings. Only a recording tells: the kernel does not note whose a slot is.",
        lambda f, d: known(d.held_slots),
    ),
    Field(
        "map_p50_ns",
        "P50",
        Unit.DURATION,
        _E,
        7,
        "Half of the latest maps took no longer than this in the kernel.",
        lambda f, d: known(d.map_p50_ns),
    ),
    Field(
        "map_p99_ns",
        "P99",
        Unit.DURATION,
        _E,
        6,
        "99 of 100 of the latest maps took no longer than this.",
        lambda f, d: known(d.map_p99_ns),
    ),
    Field(
        "map_failures",
        "FAILED",
        Unit.COUNT,
        _C,
        8,
        "Mappings that failed since the source began.",
        lambda f, d: d.map_failures,
    ),
    Field(
        "cause",
        "CAUSE",
        Unit.WORDS,
        _E,
        3,
        "The commonest cause of its failures, as the reference explains them.",
        lambda f, d: d.causes[0][0].value if d.causes else None,
    ),
    Field(
        "sizes",
        "SIZES 1..128",
        Unit.HISTOGRAM,
        _C,
        9,
        "How many maps asked for 1, 2, up to 4, 8, 16, 32, 64, 128 slots, and more, padding included.",
        lambda f, d: d.sizes or None,
    ),
    Field(
        "unmaps_per_second",
        "UNMAPS/s",
        Unit.PER_SECOND,
        _C,
        10,
        "Mappings released.",
        lambda f, d: f.device_rate(d, lambda t: t.unmaps),
    ),
    Field(
        "to_device_bytes_per_second",
        "TO MB/s",
        Unit.BYTES_PER_SECOND,
        _C,
        11,
        "Bytes of mappings for the device to read, as they are released.",
        lambda f, d: f.device_rate(d, lambda t: t.to_device_bytes),
    ),
    Field(
        "from_device_bytes_per_second",
        "FROM MB/s",
        Unit.BYTES_PER_SECOND,
        _C,
        11,
        "Bytes of mappings for the device to write, as they are released.",
        lambda f, d: f.device_rate(d, lambda t: t.from_device_bytes),
    ),
    Field(
        "hold_p50_ns",
        "HELD P50",
        Unit.DURATION,
        _R,
        13,
        "Half of the mappings that were released last had been held no longer than this.",
        lambda f, d: known(d.hold_p50_ns),
    ),
    Field(
        "hold_p99_ns",
        "HELD P99",
        Unit.DURATION,
        _R,
        13,
        "99 of 100 of them had been held no longer than this.",
        lambda f, d: known(d.hold_p99_ns),
    ),
    Field(
        "hold_max_ns",
        "HELD MAX",
        Unit.DURATION,
        _R,
        14,
        "The longest that any mapping was held that was made and released since the source began.",
        lambda f, d: known(d.hold_max_ns),
    ),
    Field(
        "holds",
        "HELD 10us..",
        Unit.HISTOGRAM,
        _R,
        15,
        "How many released mappings had been held up to 10 us, 100 us, and so on to 1000 s, and longer.",
        lambda f, d: d.holds or None,
    ),
    Field(
        "oldest_open_ns",
        "OLDEST",
        Unit.AGE,
        _R,
        12,
        "How long the oldest open mapping has been held, of those made since the source began.",
        lambda f, d: age_ns(f, d.oldest_ns),
    ),
    Field(
        "held_slots_per_minute",
        "SLOTS/min",
        Unit.PER_MINUTE,
        Origin.READINGS,
        RARE,
        "How many slots more it holds each minute, by its mean map, where that has risen for half a minute or longer.",
        lambda f, d: f.slopes[d.dev].slots_per_minute if d.dev in f.slopes else None,
    ),
    Field(
        "full_in_ns",
        "FULL IN",
        Unit.AGE,
        Origin.READINGS,
        RARE,
        "In what time no slot is free if that goes on. It is only told if it rises steadily.",
        _full_in_ns,
    ),
)
