"""HEADER, DEVICE_NAME, GAP, KNOWN and END payloads: flat JSON, every field checked by a table when read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from swiotlb_top.cpus import Cpus
from swiotlb_top.events import Gap
from swiotlb_top.state import DeviceName, HookPlace, KernelInfo
from swiotlb_top.trace import hook_places
from swiotlb_top.trace.format import MAX_CPUS, MAX_TEXT, MAX_TIME_NS, MAX_U64
from swiotlb_top.trace.items import End, Header, Known

FieldTypes: TypeAlias = Mapping[str, type | range]
"""The type of each field; for an integer, the range of its values."""

U64: Final = range(MAX_U64 + 1)
U64_OR_NONE: Final = range(-1, MAX_U64 + 1)
"""-1 is the value of what a kernel does not have."""
TIME_NS: Final = range(MAX_TIME_NS + 1)

_HEADER: Final[FieldTypes] = {
    "kernel": dict,
    "tool_version": str,
    "clock": str,
    "started_realtime_ns": TIME_NS,
    "started_monotonic_ns": TIME_NS,
    "host": str,
    "anonymised": bool,
    "partial": bool,
}
_HEADER_OF_OLD: Final[Mapping[str, object]] = {
    "started_monotonic_ns": 0,
    "host": "",
    "anonymised": False,
    "partial": False,
}
"""What the first recordings do not tell."""
_KERNEL: Final[FieldTypes] = {
    "release": str,
    "machine": str,
    "boot_id": str,
    "cpus": range(1, MAX_CPUS + 1),
    "features": list,
    "hooks": list,
    "cpu_numbers": str,
    "page_size_bytes": U64,
    "byte_order": str,
    "version": str,
    "hook_places": list,
}
_KERNEL_OF_OLD: Final[Mapping[str, object]] = {
    "cpu_numbers": "",
    "page_size_bytes": 0,
    "byte_order": "",
    "version": "",
    "hook_places": [],
}
"""The values of fields that the first recordings do not have. Their "cpus" is how many CPUs were online; later it is
the highest number + 1. They describe hooks in "hooks" alone; later that is the text of "hook_places"."""
_DEVICE_NAME: Final[FieldTypes] = {
    "dev": U64,
    "name": str,
    "driver": str,
    "known_as": str,
    "queue_requests": range(1 << 31),
}
_DEVICE_NAME_OF_OLD: Final[dict[str, object]] = {"known_as": "", "queue_requests": 0}
"""What recordings before these fields do not tell."""
_GAP: Final[FieldTypes] = {"begin_ns": TIME_NS, "exit_ns": TIME_NS, "lost": U64, "cause": str}
_KNOWN: Final[FieldTypes] = {"before_ns": TIME_NS}
_END: Final[FieldTypes] = {"counters": dict, "duration_ns": TIME_NS, "lost": U64, "complete": bool}


def dump_json(value: object) -> bytes:
    """Compact JSON. :raises ValueError: a number is NaN or infinite, which JSON does not have."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def load_json(payload: bytes) -> object:
    """Parse JSON that need not be trustworthy. :raises ValueError: it is no JSON, or nested too deep."""
    try:
        return json.loads(payload.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON")


def checked(value: object, types: FieldTypes) -> dict[str, Any]:
    """The fields of a JSON object that ``types`` names; others are ignored.

    :raises ValueError: ``value`` is no object, or a field is missing, has another type (a bool is no int), or is out of
        its range.
    """
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return {name: _checked(value.get(name), name, wanted) for name, wanted in types.items()}


def _checked(value: object, name: str, wanted: type | range) -> object:
    kind = int if isinstance(wanted, range) else wanted
    if type(value) is not kind:
        raise ValueError(f"field {name!r} is missing or no {kind.__name__}")
    if isinstance(wanted, range) and value not in wanted:
        raise ValueError(f"field {name!r} is not within {wanted.start}..{wanted.stop - 1}")
    if isinstance(value, str) and not _is_text(value):
        raise ValueError(f"field {name!r} is no text of at most {MAX_TEXT} printable characters")
    return value


def _is_text(value: str) -> bool:
    # Characters that are not printable could control the terminal on which they are shown.
    return len(value) <= MAX_TEXT and value.isprintable()


def text(value: str) -> str:
    """A text as a trace can hold it: cut to MAX_TEXT characters, with "?" for those that are not printable."""
    return "".join(char if char.isprintable() else "?" for char in value[:MAX_TEXT])


def _each(values: Iterable[Any], wanted: Collection[type], what: str) -> Any:
    for value in values:
        if type(value) not in wanted:
            raise ValueError(f"{what} holds something else than {' or '.join(t.__name__ for t in wanted)}")
        if isinstance(value, str):
            _checked(value, what, str)
        elif isinstance(value, int | float) and not -1 <= value <= MAX_U64:
            raise ValueError(f"{what} holds a number that is out of bounds")
    return values


def _names(values: Mapping[str, Any], what: str) -> None:
    _each(values, (str,), what)


def header_payload(header: Header) -> bytes:
    """HEADER payload."""
    kernel = asdict(header.kernel) | {
        "cpus": header.kernel.cpus.end,
        "cpu_numbers": str(header.kernel.cpus),
        "hooks": [(place.name, str(place)) for place in header.kernel.hooks],
        "hook_places": [hook_places.as_object(place) for place in header.kernel.hooks],
    }
    fields = {name: getattr(header, name) for name in _HEADER} | {"host": text(header.host)}
    return dump_json(fields | {"kernel": kernel, "extras": {}})  # the first readers want extras


def read_header(payload: bytes) -> Header:
    """Undo :func:`header_payload`. :raises ValueError: what is wrong with it."""
    loaded = load_json(payload)
    fields = checked({**_HEADER_OF_OLD, **loaded} if isinstance(loaded, dict) else loaded, _HEADER)
    kernel = checked({**_KERNEL_OF_OLD, **checked(fields, {"kernel": dict})["kernel"]}, _KERNEL)
    numbers = kernel.pop("cpu_numbers")
    kernel["cpus"] = Cpus.parse(numbers) if numbers else Cpus.first(kernel["cpus"])
    features = tuple(_each(kernel["features"], (str,), "features"))
    hooks = _hooks(kernel["hooks"], kernel.pop("hook_places"))
    return Header(**fields | {"kernel": KernelInfo(**kernel | {"features": features, "hooks": hooks})})


def _hooks(in_words: list[object], as_objects: list[object]) -> tuple[HookPlace, ...]:
    if as_objects:
        return tuple(map(_place, as_objects))
    return tuple(hook_places.of_words(*_pair(hook)) for hook in in_words)


def _place(hook: object) -> HookPlace:
    if not isinstance(hook, dict):
        raise ValueError("hook_places holds something else than objects")
    _each(hook.values(), (str,), "hook_places")
    return hook_places.of_object(hook)


def _pair(hook: object) -> tuple[str, str]:
    match hook:
        case [str(name), str(words)]:
            _each((name, words), (str,), "hooks")
            return name, words
    raise ValueError("hooks holds something else than pairs of str")


def device_name_payload(device_name: DeviceName) -> bytes:
    """DEVICE_NAME payload."""
    fields = asdict(device_name)
    return dump_json({name: text(value) if isinstance(value, str) else value for name, value in fields.items()})


def read_device_name(payload: bytes) -> DeviceName:
    """Undo :func:`device_name_payload`. :raises ValueError: what is wrong with it."""
    loaded = load_json(payload)
    return DeviceName(**checked(_DEVICE_NAME_OF_OLD | loaded if isinstance(loaded, dict) else loaded, _DEVICE_NAME))


def gap_payload(gap: Gap) -> bytes:
    """GAP payload."""
    return dump_json(gap._asdict())


def read_gap(payload: bytes) -> Gap:
    """Undo :func:`gap_payload`. :raises ValueError: what is wrong with it."""
    return Gap(**checked(load_json(payload), _GAP))


def known_payload(known: Known) -> bytes:
    """KNOWN payload."""
    return dump_json(asdict(known))


def read_known(payload: bytes) -> Known:
    """Undo :func:`known_payload`. :raises ValueError: what is wrong with it."""
    return Known(**checked(load_json(payload), _KNOWN))


def end_payload(end: End) -> bytes:
    """END payload."""
    fields = {"counters": dict(end.counters), "duration_ns": end.duration_ns, "lost": end.lost}
    return dump_json(fields | {"complete": True})


def read_end(payload: bytes) -> End:
    """Undo :func:`end_payload`. :raises ValueError: what is wrong with it."""
    fields = checked(load_json(payload), _END)
    _names(fields["counters"], "counters")
    _each(fields["counters"].values(), (int,), "counters")
    if not fields.pop("complete"):
        raise ValueError("an end that is not complete")
    return End(**fields)
