"""What a line of a kernel's log says of swiotlb. Nothing here reads a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from swiotlb_top.kernel_log.prefixes import Prefix, clean, prefix_of, who
from swiotlb_top.kernel_log.wordings import NOT_OF_ITSELF, WORDINGS, WORTH_A_LOOK, Kind, Wording

LINE_MAX: Final = 4096
"""Characters of a line that are looked at. The kernel's own have at most 1,024 after their prefix."""
_SHOWN_MAX: Final = 300
_UNFINISHED: Final = ("swiotlb", "software IO", "DMA: Out of SW-IOMMU")
_MOST_UNFINISHED: Final = 400


@dataclass(frozen=True, slots=True)
class Line:
    """A line that tells of swiotlb. What it does not tell is None, or empty where it is a text."""

    wording: Wording
    text: str
    """The kernel's words, from the device on."""
    device: str = ""
    driver: str = ""
    when: str = ""
    seconds: float | None = None
    size_bytes: int | None = None
    """As printed, which is below 0 for a size that is none."""
    total_slots: int | None = None
    used_slots: int | None = None
    address: int | None = None
    mask: int | None = None
    bus_limit: int | None = None
    suppressed: int = 0
    """Lines that were not printed before this."""
    caller: str = ""
    """The kernel's function that they would have come from."""

    @property
    def kind(self) -> Kind:
        return self.wording.kind


def read(raw: str) -> Line | None:
    """What ``raw``, a line of a log in any of the usual forms, says of swiotlb; None where it says nothing of it."""
    line = clean(raw[:LINE_MAX])
    prefix = prefix_of(line)
    for wording in WORDINGS:
        match = wording.pattern.search(line, prefix.rest)
        if match is None:
            continue
        if wording.kind is Kind.MENTION and NOT_OF_ITSELF.search(line):
            return None
        return _read(line, prefix, wording, match.start(), match.groupdict())
    return None


def worth_a_look(raw: bytes) -> bool:
    """Whether a line may be one that :func:`read` knows; most are not, and this is soon told."""
    return WORTH_A_LOOK.search(raw) is not None


def unfinished(line: str) -> bool:
    """Whether a line was folded, as a mail's are, within the words that matter: the next belongs to it."""
    end = line.rstrip()[-_MOST_UNFINISHED:]
    if end.endswith(_UNFINISHED):
        return True
    begun = end.rfind("swiotlb buffer is full")
    if begun < 0:
        return False
    tail = end[begun:]
    return ("(sz:" in tail and "bytes)" not in tail) or tail.endswith(("bytes),", "(slots),", "total", "used"))


def _read(line: str, prefix: Prefix, wording: Wording, start: int, found: dict[str, str | None]) -> Line:
    device, driver, begins = ("", "", start) if wording.kind in _OF_NO_DEVICE else who(line, prefix, start)
    words = found.get("words")  # a command line is long, and has more in it than is anybody's business
    return Line(
        wording,
        f"command line: {words}" if words else line[begins if device else prefix.rest :].strip()[:_SHOWN_MAX],
        found.get("device") or device,
        driver,
        prefix.when,
        prefix.seconds,
        _number(found, "size"),
        _number(found, "total"),
        _number(found, "used"),
        _number(found, "address", 16),
        _number(found, "mask", 16),
        _number(found, "bus_limit", 16),
        _number(found, "suppressed") or 0,
        found.get("caller") or "",
    )


_OF_NO_DEVICE: Final = frozenset({Kind.SUPPRESSED, Kind.POOL_NOT_ADDED, Kind.POOL_NOT_MADE, Kind.BOOT, Kind.MENTION})


def _number(found: dict[str, str | None], name: str, base: int = 10) -> int | None:
    text = found.get(name)
    return int(text, base) if text else None
