"""What the support matrix tries: a row is a kernel in one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.lab.harness.kernels import FAULTY
from tests.lab.harness.machine import Machine

ROOM: Final = "8192,force"
"""Slots for a static pool that has room for all of the workload."""
GROWING: Final = "512,force"


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel, and what must come of it."""

    kernel: str
    """A name of `kernels.KERNELS`."""
    what: str
    """What people call it."""
    swiotlb: str = ROOM
    verdict: str = "agree"
    """What the tool must say of it: of a kernel with a bug, "disagree"."""
    cannot: str = ""
    """Why nothing is judged on it, or it cannot be tried; empty if it is watched and judged."""
    refusal: str = ""
    """What the lab says, if it cannot boot it; empty if it can."""

    @property
    def is_dynamic(self) -> bool:
        """Whether its pools grow."""
        return self.swiotlb == GROWING

    @property
    def machine(self) -> Machine:
        """Two CPUs: two areas, and calls that overlap."""
        return Machine(kernel=self.kernel, cpus=2, swiotlb=self.swiotlb)


def _as_released(name: str, what: str, cannot: str = "") -> tuple[Row, Row]:
    verdict = "inconclusive" if cannot else "agree"
    return (
        Row(name, what, GROWING, verdict, cannot),
        Row(f"{name}-static", what, ROOM, verdict, cannot),
    )


_WRONG: Final = {
    "cve-2023-52790": "6.12 with CVE-2023-52790",
    "cve-2024-35814": "6.12 with CVE-2024-35814",
    "no-min-alignment": "6.12 with the bug of 6.3-rc4",
    "no-page-alignment": "6.12 with the bug of 6.6.24",
    "injected-overlap": "6.12 that gives a slot out twice",
    "injected-lost-release": "6.12 that loses slots",
}

_NO_9P: Final = "Debian's cloud kernels have no 9p, through which the lab's guests get their files"
_NO_MODULE: Final = "has no module 9p"

ROWS: Final = (
    Row("debian-6.1", "Debian 12's 6.1"),
    Row("debian-6.1-rt", "Debian 12's 6.1, rt"),
    Row("debian-6.1-cloud", "Debian 12's 6.1, cloud", cannot=_NO_9P, refusal=_NO_MODULE),
    Row("debian", "Debian 13's 6.12"),
    Row("debian-6.12-rt", "Debian 13's 6.12, rt"),
    Row("debian-6.12-cloud", "Debian 13's 6.12, cloud", cannot=_NO_9P, refusal=_NO_MODULE),
    Row("debian-7.3", "Debian's 7.3 (backports)"),
    Row("arm64", "Debian 13's 6.12, arm64"),
    Row("dynamic", "6.12", GROWING),
    Row("dynamic-inlined", "6.12, its search inlined", GROWING),
    Row("dynamic-7.3", "7.3", GROWING),
    Row("seed", "6.12 in the order of the first dynamic pools", GROWING),
    *_as_released("6.6", "6.6.3 to 6.6.23"),
    *_as_released("6.6.24", "6.6.24 to 6.6.34"),
    *_as_released("6.6.35", "6.6 since 6.6.35"),
    *_as_released("6.8", "6.8.0 to 6.8.2"),
    *_as_released("ubuntu-6.8", "6.8 as Ubuntu ships it"),
    *_as_released("6.9", "6.9"),
    *_as_released("rhel-9", "5.14 as RHEL 9 ships it"),
    *_as_released("openeuler-24.03", "6.6 as openEuler 24.03 ships it"),
    *_as_released("sets-of-256", "6.12 with slot sets of 256", "sets of another size than 128 slots are not judged"),
    *(Row(name, _WRONG[name], GROWING, "disagree") for name in FAULTY),
)
"""All of it. A kernel that is named for a release is 6.12 with patches that give it that release's swiotlb, but for
Debian's own."""
