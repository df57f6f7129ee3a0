"""Frames as JSON, one object a line; no rich here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import IO, Final

from swiotlb_top.accounting.snapshot import DeviceView, PoolView, Snapshot, VerdictView
from swiotlb_top.sources.frame import Frame

SNAPSHOT_RATES: Final[dict[str, Callable[[Snapshot], int]]] = {
    "maps_per_second": lambda snapshot: snapshot.maps,
    "map_failures_per_second": lambda snapshot: snapshot.map_failures,
    "unmaps_per_second": lambda snapshot: snapshot.unmaps,
    "growths_per_second": lambda snapshot: snapshot.growths,
}

DEVICE_RATES: Final[dict[str, Callable[[DeviceView], int]]] = {
    "maps_per_second": lambda device: device.maps,
    "map_failures_per_second": lambda device: device.map_failures,
    "unmaps_per_second": lambda device: device.unmaps,
    "mapped_bytes_per_second": lambda device: device.mapped_bytes,
}


def frame_as_json(frame: Frame) -> dict[str, object]:
    """The snapshot's fields and the rates; null for what is not known, a pool's ``start`` in hexadecimal.

    Addresses of kernel objects are left out: they tell where the kernel lies and serve no reader.
    """
    now = frame.now
    found: dict[str, object] = _fields(now, ("pools", "devices", "verdict", "notes"))
    found |= {name: frame.rate(total) for name, total in SNAPSHOT_RATES.items()}
    found["interval_seconds"] = frame.elapsed_ns / 1e9
    found["source_failure"] = frame.failure or None
    found["pools"] = [_pool(pool) for pool in now.pools]
    found["devices"] = [_device(frame, device) for device in now.devices]
    found["verdict"] = {"word": now.verdict.word, **_fields(now.verdict)} if now.verdict else None
    found["notes"] = list(now.notes)
    return found


def write_frames(frames: Iterable[Frame], output: IO[str]) -> None:
    """Write each frame as a line of JSON as it comes; :raises BrokenPipeError: the reader went away."""
    for frame in frames:
        output.write(json.dumps(frame_as_json(frame)) + "\n")
        output.flush()


def _pool(pool: PoolView) -> dict[str, object]:
    return _fields(pool, ("address",)) | {"start": f"{pool.start:#x}"}


def _device(frame: Frame, device: DeviceView) -> dict[str, object]:
    found = _fields(device, ("dev", "causes")) | {"held_maps": device.held_maps, "causes": dict(device.causes)}
    return found | {name: frame.device_rate(device, total) for name, total in DEVICE_RATES.items()}


def _fields(view: Snapshot | PoolView | DeviceView | VerdictView, without: tuple[str, ...] = ()) -> dict[str, object]:
    names = (field.name for field in dataclasses.fields(view) if field.name not in without)
    return {name: None if getattr(view, name) == -1 else getattr(view, name) for name in names}
