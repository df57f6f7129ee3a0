"""HEADER, DEVICE_NAME, GAP and END payloads: flat JSON, every field checked by a table when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from swiotlb_top.cpus import Cpus
from swiotlb_top.events import Gap
from swiotlb_top.state import DeviceName, KernelInfo
from swiotlb_top.trace.items import End, Header

FieldTypes = Mapping[str, type]

_HEADER: Final[FieldTypes] = {
    "kernel": dict,
    "tool_version": str,
    "clock": str,
    "started_realtime_ns": int,
    "extras": dict,
}
_KERNEL: Final[FieldTypes] = {
    "release": str,
    "machine": str,
    "boot_id": str,
    "cpus": int,
    "features": list,
    "hooks": list,
    "cpu_numbers": str,
    "page_size_bytes": int,
    "byte_order": str,
}
_KERNEL_OF_OLD: Final = {"cpu_numbers": "", "page_size_bytes": 0, "byte_order": ""}
"""What the first recordings do not tell. Their "cpus" is how many were online; since, it is the highest number + 1."""
_DEVICE_NAME: Final[FieldTypes] = {"dev": int, "name": str, "driver": str}
_GAP: Final[FieldTypes] = {"begin_ns": int, "exit_ns": int, "lost": int, "cause": str}
_END: Final[FieldTypes] = {"counters": dict, "duration_ns": int, "lost": int, "complete": bool}


def dump_json(value: object) -> bytes:
    """Compact JSON. :raises ValueError: NaN or infinity, which JSON has not."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def load_json(payload: bytes) -> object:
    """Parse a payload nobody should trust. :raises ValueError: anything but JSON."""
    try:
        return json.loads(payload.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON")


def checked(value: object, types: FieldTypes) -> dict[str, Any]:
    """The fields of ``types`` out of a JSON object, others left out.

    :raises ValueError: no object, a field missing or of another type (a bool is no int).
    """
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    for name, wanted in types.items():
        if type(value.get(name)) is not wanted:
            raise ValueError(f"field {name!r} is missing or no {wanted.__name__}")
    return {name: value[name] for name in types}


def _each(values: Any, wanted: tuple[type, ...], what: str) -> Any:
    if any(type(value) not in wanted for value in values):
        raise ValueError(f"{what} holds something else than {' or '.join(t.__name__ for t in wanted)}")
    return values


def header_payload(header: Header) -> bytes:
    """HEADER payload. :raises ValueError: extras that are not flat."""
    _each(header.extras.values(), (str, int, float, bool), "extras")
    kernel = asdict(header.kernel) | {"cpus": header.kernel.cpus.end, "cpu_numbers": str(header.kernel.cpus)}
    fields = {name: getattr(header, name) for name in _HEADER}
    return dump_json(fields | {"kernel": kernel, "extras": dict(header.extras)})


def read_header(payload: bytes) -> Header:
    """Undo :func:`header_payload`. :raises ValueError: what is wrong with it."""
    fields = checked(load_json(payload), _HEADER)
    _each(fields["extras"].values(), (str, int, float, bool), "extras")
    kernel = checked({**_KERNEL_OF_OLD, **checked(fields, {"kernel": dict})["kernel"]}, _KERNEL)
    numbers = kernel.pop("cpu_numbers")
    kernel["cpus"] = Cpus.parse(numbers) if numbers else Cpus.first(kernel["cpus"])
    features = tuple(_each(kernel["features"], (str,), "features"))
    hooks = tuple(_pair(hook) for hook in kernel["hooks"])
    return Header(**fields | {"kernel": KernelInfo(**kernel | {"features": features, "hooks": hooks})})


def _pair(hook: object) -> tuple[str, str]:
    match hook:
        case [str(name), str(attached)]:
            return name, attached
    raise ValueError("hooks holds something else than pairs of str")


def device_name_payload(device_name: DeviceName) -> bytes:
    """DEVICE_NAME payload."""
    return dump_json(asdict(device_name))


def read_device_name(payload: bytes) -> DeviceName:
    """Undo :func:`device_name_payload`. :raises ValueError: what is wrong with it."""
    return DeviceName(**checked(load_json(payload), _DEVICE_NAME))


def gap_payload(gap: Gap) -> bytes:
    """GAP payload."""
    return dump_json(gap._asdict())


def read_gap(payload: bytes) -> Gap:
    """Undo :func:`gap_payload`. :raises ValueError: what is wrong with it."""
    return Gap(**checked(load_json(payload), _GAP))


def end_payload(end: End) -> bytes:
    """END payload."""
    fields = {"counters": dict(end.counters), "duration_ns": end.duration_ns, "lost": end.lost}
    return dump_json(fields | {"complete": True})


def read_end(payload: bytes) -> End:
    """Undo :func:`end_payload`. :raises ValueError: what is wrong with it."""
    fields = checked(load_json(payload), _END)
    _each(fields["counters"].values(), (int,), "counters")
    if not fields.pop("complete"):
        raise ValueError("an end that is not complete")
    return End(**fields)
