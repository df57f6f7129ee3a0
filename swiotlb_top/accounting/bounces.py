"""Why a device's mappings bounce: one rule for each reason that the kernel has.

dma-direct bounces what ``dma_capable()`` refuses, what is forced, and small buffers of kmalloc() on some machines
(``dma_direct_map_phys()``). dma-iommu bounces for devices that the kernel does not trust, and those small buffers,
where they do not fill whole pages (``dev_use_swiotlb()``). Neither looks at what the other one alone looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from swiotlb_top.accounting import numbers
from swiotlb_top.accounting.evidence import Evidence


class Reason(Enum):
    """Why, in a word. The value is what JSON says."""

    NEVER = "never"
    OWN_POOL = "own_pool"
    ASKED_FOR = "asked_for"
    ENCRYPTED = "encrypted"
    FORCED = "forced"
    OUT_OF_REACH = "out_of_reach"
    UNTRUSTED = "untrusted"
    UNALIGNED = "unaligned"
    XEN = "xen"


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason. ``holds`` gives None where the evidence decides neither way."""

    reason: Reason
    holds: Callable[[Evidence], bool | None]
    sentence: Callable[[Evidence], str]
    question: str = ""
    """What has to be known to decide; empty where another rule asks the same."""
    command: str = ""
    """What tells it, run on that machine."""


@dataclass(frozen=True, slots=True)
class Because:
    """A reason that holds, and what shows it."""

    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Question:
    """What would have to be known."""

    what: str
    command: str
    """What tells it, run on that machine."""

    def __str__(self) -> str:
        return f"{self.what} is not known ({self.command} tells)"


def because(evidence: Evidence) -> tuple[Because, ...]:
    """The reasons that are known to hold; empty where none is known."""
    return tuple(Because(rule.reason, rule.sentence(evidence)) for rule in RULES if rule.holds(evidence))


def questions(evidence: Evidence) -> tuple[Question, ...]:
    """Where not every map has a known reason: what would have to be known; else empty."""
    known = {reason.reason for reason in because(evidence)}
    if known - {Reason.OUT_OF_REACH} or (known and not evidence.tried.within):
        return ()
    return tuple(
        Question(rule.question, rule.command) for rule in RULES if rule.question and rule.holds(evidence) is None
    )


def _never(evidence: Evidence) -> bool:
    return evidence.around.maps is False and not (evidence.tried.direct or evidence.tried.translated)


def _is_elsewhere(evidence: Evidence) -> bool:
    """Whether it is known that dma-direct takes nothing from the machine's allocator for this device."""
    return bool(evidence.restricted) or evidence.is_direct is False or _never(evidence)


def _forced(evidence: Evidence) -> bool | None:
    """Whether force_bounce makes it bounce."""
    if _is_elsewhere(evidence) or evidence.forced is False:
        return False
    return True if evidence.is_direct and evidence.forced else None


def _asked_for(evidence: Evidence) -> bool | None:
    asked = evidence.around.asked_for
    if _forced(evidence) is False or asked is False:
        return False
    return True if asked and evidence.is_direct else None


def _encrypted(evidence: Evidence) -> bool | None:
    """In such a guest the kernel sets force_bounce, which nothing else sets but the command line (SWIOTLB_FORCE,
    c6af2aa9ffc9, 5.19). By 7.3 it does not, and dma_capable() refuses instead."""
    around = evidence.around
    unforced = evidence.forced is False and around.encryption_forces
    if _is_elsewhere(evidence) or around.encrypted is False or unforced:
        return False
    if around.encrypted and evidence.is_direct:
        return True
    by_force = _forced(evidence) and around.asked_for is False and around.encryption_forces is not False
    return True if by_force else None


def _forced_by_something(evidence: Evidence) -> bool:
    return bool(_forced(evidence)) and not _asked_for(evidence) and not _encrypted(evidence)


def _out_of_reach(evidence: Evidence) -> bool | None:
    """Of Xen nothing is said: a device is then given other addresses than the recorded ones."""
    if _is_elsewhere(evidence) or _forced(evidence):
        return False
    if evidence.around.xen_pv:
        return None
    if evidence.tried.direct:
        return evidence.tried.beyond > 0
    end, reach = evidence.around.memory_end, evidence.reach
    if end is None or reach is None:
        return None
    if end <= reach:
        return False
    return True if evidence.is_direct else None


def _untrusted(evidence: Evidence) -> bool | None:
    untrusted = evidence.around.untrusted
    if evidence.is_direct or untrusted is False or _never(evidence):
        return False
    if evidence.tried.translated and evidence.around.bounces_small is False:
        return True  # dma-iommu has no other reason then
    return True if untrusted and evidence.is_direct is False else None


def _unaligned(evidence: Evidence) -> bool | None:
    tried, small = evidence.tried, evidence.around.bounces_small
    others = [_forced(evidence), _encrypted(evidence), _xen(evidence)]
    if small is False or evidence.restricted or any(others) or _never(evidence) or (tried.direct and not tried.small):
        return False
    # A small buffer that the device reaches bounces for this reason if all others are known not to hold.
    return True if small and tried.small and not tried.within and None not in others else None


def _xen(evidence: Evidence) -> bool | None:
    return False if _is_elsewhere(evidence) or _forced(evidence) else evidence.around.xen_pv


def _reach_in_words(evidence: Evidence) -> str:
    reach, tried = evidence.reach, evidence.tried
    if tried.beyond:
        shifted = evidence.limits is not None and evidence.limits.bus_dma_limit
        return (
            f"{numbers.count(tried.beyond)} of {numbers.counted(tried.direct, 'recorded map')} had a buffer that ends "
            f"above {reach:#x}, the highest address that the device reaches{_SHIFTED if shifted else ''}"
        )
    end = evidence.around.memory_end
    return f"a buffer above {reach:#x} bounces: the device reaches no higher, and memory goes up to {end:#x}"


_SHIFTED: Final = " (if its bus does not shift addresses: it has a bus_dma_limit)"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        Reason.NEVER,
        _never,
        lambda e: "nothing bounces: the device is given physical addresses (virtio without VIRTIO_F_ACCESS_PLATFORM)",
    ),
    Rule(
        Reason.OWN_POOL,
        lambda e: bool(e.restricted),
        lambda e: "every mapping bounces: the device has a pool of its own (restricted-dma-pool)",
    ),
    Rule(
        Reason.ASKED_FOR,
        _asked_for,
        lambda e: "every mapping bounces: the kernel was booted with swiotlb=force",
        "whether the kernel was booted with swiotlb=force",
        "cat /proc/cmdline",
    ),
    Rule(
        Reason.ENCRYPTED,
        _encrypted,
        lambda e: (
            "every mapping bounces: the guest's memory is encrypted, and the device cannot read it"
            if e.around.encrypted
            else "every mapping bounces: the kernel forces it without swiotlb=force, as it does where a guest's memory "
            "is encrypted"
        ),
        "whether memory is encrypted",
        "dmesg | grep -i 'memory encryption'",
    ),
    Rule(
        Reason.FORCED,
        _forced_by_something,
        lambda e: (
            "every mapping bounces: the kernel forces it (force_bounce), for swiotlb=force or because the guest's "
            "memory is encrypted; cat /proc/cmdline tells which"
        ),
    ),
    Rule(
        Reason.OUT_OF_REACH,
        _out_of_reach,
        _reach_in_words,
        "whether buffers lie higher than the device reaches",
        "swiotlb-top record -o FILE",
    ),
    Rule(
        Reason.UNTRUSTED,
        _untrusted,
        lambda e: (
            "buffers that do not fill whole pages bounce: the device is behind an IOMMU and an external port, and the "
            "kernel does not trust it"
        ),
        "whether the kernel trusts the device",
        "cat /sys/bus/pci/devices/*/removable",
    ),
    Rule(
        Reason.UNALIGNED,
        _unaligned,
        lambda e: (
            "small buffers that the device writes bounce, as kmalloc() may put other data into their cache lines "
            "(CONFIG_DMA_BOUNCE_UNALIGNED_KMALLOC)"
        ),
        "whether small buffers of kmalloc() bounce",
        "grep DMA_BOUNCE_UNALIGNED_KMALLOC /boot/config-$(uname -r)",
    ),
    Rule(
        Reason.XEN,
        _xen,
        lambda e: "buffers bounce that are not in one piece of the machine's memory (a paravirtualized domain of Xen)",
        "whether Xen moves its pages",
        "cat /sys/hypervisor/guest_type",
    ),
)
"""All reasons, those that hold for every mapping first."""
