"""Frames as JSON, one object a line; no rich here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import IO, Final

from swiotlb_top.accounting import fields, logged
from swiotlb_top.accounting.fields import Field, Row
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import headline
from swiotlb_top.accounting.snapshot import (
    UNKNOWN,
    DeviceView,
    FailureView,
    Playback,
    PoolView,
    Snapshot,
    VerdictView,
)
from swiotlb_top.json_schema import versioned

_KERNEL_ADDRESSES: Final = ("address", "dev")
"""These are left out: they reveal addresses of the kernel, and no reader needs them."""
_WORDS: Final = ("cause",)
"""These are members of an enum, or None. The tables of fields give their words."""


def frame_as_json(frame: Frame) -> dict[str, object]:
    """The members of a snapshot and the fields computed from them. null is: not known. Addresses are hexadecimal."""
    now = frame.now
    found = _members(now) | _fields(fields.TOTALS, frame, now)
    found["state"] = _state(frame)
    found["findings"] = [finding.as_json() for finding in frame.findings]
    found["interval_seconds"] = frame.elapsed_ns / 1e9
    found["source_failure"] = frame.failure or None
    found["pools"] = [_members(pool) | _fields(fields.POOLS, frame, pool) | _areas(pool) for pool in now.pools]
    found["devices"] = [
        _members(device) | _fields(fields.DEVICES, frame, device) | _failed(device) for device in now.devices
    ]
    found["failures"] = [_members(failure) | _fields(fields.FAILURES, frame, failure) for failure in now.failures]
    found["verdict"] = {"word": now.verdict.word, **_members(now.verdict)} if now.verdict else None
    found["playback"] = _members(now.playback) if now.playback else None
    found["kernel_log"] = logged.as_json(now.kernel_log)
    found["notes"] = list(now.notes)
    return versioned(found)


def write_frames(frames: Iterable[Frame], output: IO[str]) -> None:
    """Write each frame as a line of JSON as it comes; :raises BrokenPipeError: the reader went away."""
    for frame in frames:
        output.write(json.dumps(frame_as_json(frame)) + "\n")
        output.flush()


def _members(view: Snapshot | PoolView | DeviceView | FailureView | VerdictView | Playback) -> dict[str, object]:
    """The plain values of an object, by name."""
    named = ((member.name, getattr(view, member.name)) for member in dataclasses.fields(view))
    return {
        name: None if value == UNKNOWN and not isinstance(value, bool) else value
        for name, value in named
        if (isinstance(value, str | int | float) or name in _WORDS) and name not in _KERNEL_ADDRESSES
    }


def _state(frame: Frame) -> dict[str, object]:
    """The headline, and the exit status that goes with it."""
    found = headline(frame)
    return {
        "level": found.level.value.lower(),
        "sentence": found.sentence,
        "device": found.device.name if found.device else None,
        "unknown": list(found.unknown),
        "exit_status": int(found.exit_status),
    }


def _fields(table: tuple[Field[Row], ...], frame: Frame, row: Row) -> dict[str, object]:
    found: dict[str, object] = {field.name: field.value(frame, row) for field in table}
    for field in table:
        value = found[field.name]
        if field.unit is fields.Unit.ADDRESS and isinstance(value, int):
            found[field.name] = f"{value:#x}"
    return found


def _failed(device: DeviceView) -> dict[str, object]:
    return {
        "causes": {cause.value: failures for cause, failures in device.causes},
        "starved": device.starved._asdict() if device.starved else None,
        "askers": [asker._asdict() for asker in device.askers],
    }


def _areas(pool: PoolView) -> dict[str, object]:
    return {"area_used_slots": list(pool.slots.area_used_slots) if pool.slots else None}
