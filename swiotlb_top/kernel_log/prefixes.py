"""What stands before the kernel's own words in a line of a log: times, a host, a priority, a console's noise."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_MONTH_DAY: Final = r"[A-Z][a-z]{2} {1,2}\d{1,2}"
_CLOCK: Final = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ISO: Final = rf"\d{{4}}-\d\d-\d\d[T ]{_CLOCK}(?: ?(?:Z|UTC|[A-Z]{{3,5}}|[+-]\d\d:?\d\d))?"

_FORMS: Final[tuple[re.Pattern[str], ...]] = tuple(
    re.compile(form)
    for form in (
        r"[\s>|`*]+",  # quoted in a mail or a page
        r"<\d{1,3}>",  # the priority, as on a console
        r"(?:kern|user|daemon|syslog) *:\w+ *: *",  # dmesg -x
        # A record of /dev/kmsg, as it is read.
        r"\d{1,4},\d{1,20},(?P<microseconds>\d{1,20}),[^;,]{1,3}(?:,[^;]{0,60})?;",
        r"\[ *(?P<seconds>\d{1,12}\.\d{1,9})(?: +<[ .\d]{1,20}>)?\] ?",  # dmesg, dmesg -d
        rf"\[(?P<dated>[A-Z][a-z]{{2}} {_MONTH_DAY} {_CLOCK} \d{{4}})(?: +<[ .\d]{{1,20}}>)?\] ?",  # dmesg -T
        r"\[(?:[A-Z][a-z]{2} *\d{1,2} \d\d:\d\d| *[+<] *\d{1,12}\.\d{1,9}>?)\] ?",  # dmesg -e
        r"\[ *[TC]\d{1,10}\] ?",  # who printed it: CONFIG_PRINTK_CALLER
        rf"(?:[A-Z][a-z]{{2}} )?(?P<iso>{_ISO}) ",  # journalctl -o short-iso, short-full; dmesg --time-format=iso
        rf"(?P<syslog>{_MONTH_DAY} (?:\d{{4}} )?{_CLOCK}) ",
        r"\d{9,11}\.\d{6} ",  # journalctl -o short-unix
        r"(?:[\w.-]{1,255} )?kernel(?:\[\d{0,10}\])?: ",
    )
)
_MOST_FORMS: Final = 12
"""So many prefixes are taken off a line; no logger puts more before it."""
_NOISE: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f\ufeff\ufffd]")
"""Escape sequences and control characters; what is no UTF-8 was made U+FFFD."""
_NOBODY: Final = re.compile(r"\(NULL device \*\): $")
_WHO: Final = re.compile(r"(?:(?P<driver>[^:\"]{0,63}\S) )?(?P<device>[^\s\"]{1,127}): $")
_WHO_AT_THE_END: Final = re.compile(r"(?:(?P<driver>[\w.,+()/@#-]{1,64}) )?(?P<device>[\w.,+()/@#:-]{1,127}): $")
_FACTS: Final = re.compile(r"(?:Kernel panic - not syncing|DMA|PCI-DMA|software IO TLB|DMAR|iommu|AMD-Vi): $")
"""What stands before a wording, and is no device."""


class Prefix(NamedTuple):
    """What a line's beginning tells."""

    when: str
    """As it stands there, the wall's time before the kernel's; empty where there is none."""
    seconds: float | None
    """On the kernel's clock."""
    rest: int
    """Where the kernel's own words begin."""
    known: bool
    """Whether anything was taken off."""


def clean(line: str) -> str:
    """The line without escape sequences and control characters."""
    return _NOISE.sub("", line)


def prefix_of(line: str) -> Prefix:
    """What stands before the kernel's words in a line that is :func:`clean`."""
    found: dict[str, str] = {}
    at = 0
    for _ in range(_MOST_FORMS):
        for form in _FORMS:
            match = form.match(line, at)
            if match:
                found.update({name: text for name, text in match.groupdict().items() if text})
                at = match.end()
                break
        else:
            break
    if microseconds := found.get("microseconds"):
        found["seconds"] = f"{int(microseconds) / 1e6:.6f}"
    seconds = found.get("seconds")
    when = found.get("iso") or found.get("dated") or found.get("syslog") or (f"[{seconds}]" if seconds else "")
    return Prefix(when, float(seconds) if seconds else None, at, at > 0)


def who(line: str, prefix: Prefix, until: int) -> tuple[str, str, int]:
    """The device and the driver that stand before the words at ``until``, and where they begin; empty: none does.

    The kernel writes "driver device: ", or "device: " for one without a driver's name.
    """
    before = line[prefix.rest : until]
    while fact := _FACTS.search(before):
        before = before[: fact.start()]
    if _NOBODY.search(before):
        return "", "", until
    match = _WHO.match(before) if prefix.known or prefix.rest == 0 else None
    match = match if match and match.end() == len(before) else _WHO_AT_THE_END.search(before[-200:])
    if match is None:
        return "", "", until
    start = prefix.rest + len(before) - (match.end() - match.start())
    return match["device"], match["driver"] or "", start
