"""What lines of a kernel's log mean, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swiotlb_top.errors import Exit
from swiotlb_top.kernel_log.causes import LogCause, needed_slots
from swiotlb_top.kernel_log.meanings import MEANINGS
from swiotlb_top.kernel_log.tally import Found, Group

_LEAKING = (LogCause.EXHAUSTED, LogCause.NO_RUN)


@dataclass(frozen=True, slots=True)
class WhyReport:
    """What was found, and in how much."""

    found: Found
    lines: int
    missing: str = ""
    """Why there is more of the log than was read; empty where there is not."""

    @property
    def exit_code(self) -> Exit:
        """1 where there is trouble; 0 only where lines tell how swiotlb was set up, and all was read; else 5."""
        if self.found.groups or self.found.suppressed:
            return Exit.DISAGREE
        return Exit.OK if self.found.boot and not (self.found.unknown or self.missing) else Exit.INCONCLUSIVE

    def as_text(self) -> str:
        """The upshot, then a block a device and cause."""
        return "\n".join(self._text())

    def as_json(self) -> dict[str, object]:
        """Counts, and an object a device and cause."""
        found = self.found
        return {
            "lines_read": self.lines,
            "missing": self.missing or None,
            "failed_maps": found.failed_maps,
            "not_printed": found.not_printed,
            "groups": [_group_as_json(group) for group in found.groups],
            "suppressed": dict(found.suppressed),
            "boot": list(found.boot),
            "unknown": found.unknown,
            "unknown_samples": list(found.unknown_samples),
        }

    def _text(self) -> Iterator[str]:
        found = self.found
        yield upshot(found)
        if self.missing:
            yield f"this is not all of the log: {self.missing}"
        for group in found.groups:
            yield ""
            yield from _block(group)
        if found.suppressed:
            yield ""
        for caller, number in found.suppressed:
            yield _labelled("not printed", f"{_counted(number, 'line')} from {caller}(), of which devices is not told")
        if found.boot:
            yield ""
        for text in found.boot:
            yield _labelled("boot", text)
        if found.unknown:
            yield ""
            yield "what has swiotlb in it, in words that are not known here:"
        for text in found.unknown_samples:
            yield _labelled("unknown", text)


def upshot(found: Found) -> str:
    """What it comes to, in a sentence."""
    if found.failed_maps:
        devices = len({(group.device, group.driver) for group in found.groups if group.cause.fails_maps})
        more = f"; {_counted(found.not_printed, 'more line')} not printed" if found.not_printed else ""
        return f"{maps_failed(found)}, of {_counted(devices, 'device')}{more}"
    if found.groups:
        trouble = _counted(sum(group.lines for group in found.groups), "line")
        return f"no failed map is told of, and {trouble} of other trouble"
    if found.suppressed:
        return f"{_counted(found.not_printed, 'line')} of trouble not printed: what they would have told is not known"
    if found.unknown:
        return f"{_counted(found.unknown, 'line')} with swiotlb in it, and none is known here: it may be trouble"
    if found.boot:
        return "no trouble is told of: only how swiotlb was set up"
    return (
        "no line tells of swiotlb. That does not say that all is well: of some drivers' maps the kernel prints "
        "nothing, and a log may not be all of it"
    )


def maps_failed(found: Found) -> str:
    """How many, and whether there may have been more."""
    at_least = found.not_printed or any(group.at_least for group in found.groups if group.cause.fails_maps)
    return f"{'at least ' if at_least else ''}{_counted(found.failed_maps, 'map')} failed"


def who(group: Group) -> str:
    """The device, as the kernel writes it."""
    return " ".join(word for word in (group.driver, group.device) if word) or "(no device is named)"


def _block(group: Group) -> Iterator[str]:
    what = "map failed" if group.cause.fails_maps else "line"
    number = f"{group.lines} {what}" if group.lines == 1 else f"{group.lines} {what.replace('map', 'maps')}"
    if group.lines > 1 and what == "line":
        number += "s"
    yield f"{who(group)}: {group.cause.value}, {'at least ' if group.at_least else ''}{number}"
    if group.first_when:
        last = f", the last at {group.last_when}" if group.lines > 1 else ""
        yield _labelled("when", f"{'the first at ' if last else ''}{group.first_when}{last}")
    yield _labelled("line", group.text)
    numbers = "; ".join(_numbers(group))
    if numbers:
        yield _labelled("numbers", numbers)
    meaning = MEANINGS[group.cause]
    yield _labelled("means", meaning.means)
    for remark in _remarks(group):
        yield _labelled("remark", remark)
    yield _labelled("helps", meaning.helps)
    yield _labelled("no help", meaning.does_not)
    yield _labelled("open", meaning.open)
    if group.wording.releases:
        yield _labelled("kernels", f"this wording is mainline's, {group.wording.releases}")


def _numbers(group: Group) -> Iterator[str]:
    if group.sizes_bytes and group.sizes_bytes[0] >= 0:
        least, most = group.sizes_bytes
        yield f"asked for {_range(least, most)} bytes ({_range(needed_slots(least), needed_slots(most))} slots)"
    elif group.sizes_bytes:
        yield f"asked for {_range(*group.sizes_bytes)} bytes"
    if group.used_slots and group.total_slots is not None:
        yield f"{_range(*group.used_slots)} of {_range(*group.total_slots)} slots in use"
    if group.address is not None:
        yield f"at address {group.address:#x}"
    if group.mask is not None:
        yield f"DMA mask {group.mask:#x}"
    if group.bus_limit is not None:
        yield f"bus limit {group.bus_limit:#x}" if group.bus_limit else "no bus limit"


def _remarks(group: Group) -> Iterator[str]:
    yield from group.remarks
    if group.total_slots and group.total_slots[0] != group.total_slots[1]:
        yield (
            "The number of all slots changes: this kernel adds pools (CONFIG_SWIOTLB_DYNAMIC), and could not add one "
            "in time. In the reference's words it may be cannot_grow or grow_failed, too."
        )
    if group.never_fell and group.cause in _LEAKING:
        yield (
            "No earlier line has more slots in use than the last one: slots that are never given back look like this, "
            "and so does load."
        )


def _group_as_json(group: Group) -> dict[str, object]:
    meaning = MEANINGS[group.cause]
    sizes, used = group.sizes_bytes or (None, None), group.used_slots or (None, None)
    total = group.total_slots or (None, None)
    return {
        "device": group.device or None,
        "driver": group.driver or None,
        "cause": group.cause.value,
        "possible": [cause.value for cause in group.cause.possible],
        "fails_maps": group.cause.fails_maps,
        "lines": group.lines,
        "at_least": group.at_least,
        "size_bytes_min": sizes[0],
        "size_bytes_max": sizes[1],
        "used_slots_min": used[0],
        "used_slots_max": used[1],
        "total_slots_min": total[0],
        "total_slots_max": total[1],
        "address": None if group.address is None else f"{group.address:#x}",
        "dma_mask": None if group.mask is None else f"{group.mask:#x}",
        "bus_limit": None if group.bus_limit is None else f"{group.bus_limit:#x}",
        "first_when": group.first_when or None,
        "last_when": group.last_when or None,
        "last_line": group.text,
        "kernels": group.wording.releases or None,
        "remarks": list(_remarks(group)),
        "means": meaning.means,
        "helps": meaning.helps,
        "does_not": meaning.does_not,
        "open": meaning.open,
    }


def _range(least: int, most: int) -> str:
    return f"{least}" if least == most else f"{least} to {most}"


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _labelled(label: str, text: str) -> str:
    return f"  {label:11}  {' '.join(text.split())}"
