"""The trees of kernels other than mainline: stable branches and distributions, and how they name a build.

What such a tree took over from newer kernels is in :mod:`swiotlb_top.allocator.differences`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple


class Maker(Enum):
    """The maker that named a kernel's release, as far as that matters here."""

    KERNEL_ORG = "kernel.org"
    """Mainline and its stable branches, and whoever names them as they are: Fedora, Azure Linux, WSL, Amazon."""
    DEBIAN = "Debian"
    UBUNTU = "Ubuntu"
    RHEL = "RHEL"
    SLES = "SLES"
    OPENEULER = "openEuler"
    OTHER = "somebody who does not tell the sublevel"


class Release(NamedTuple):
    """What ``uname`` says of a kernel."""

    maker: Maker
    branch: tuple[int, int]
    build: int | None
    """The sublevel, as 84 in 6.1.84, or the maker's own number of the build; None if the release has neither."""


_VERSION: Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(.*)")
_DEBIANS_VERSION: Final = re.compile(r"\bDebian (\d+)\.(\d+)\.(\d+)")
"""In ``uname -v``: ``"#1 SMP PREEMPT_DYNAMIC Debian 6.1.115-1 (2024-11-01)"``."""
_BUILDS: Final = (
    # Who calls a build X.Y.0 with this behind it, and the number in it that counts builds.
    (Maker.RHEL, re.compile(r"-(\d+)\.\S*el\d")),
    (Maker.OPENEULER, re.compile(r"-(\d+)\.\S*oe\d")),
    (Maker.SLES, re.compile(r"-(\d{6})\.")),
    (Maker.DEBIAN, re.compile(r"-(?:0\.deb\d+\.)?(\d+)(?:-cloud|-rt)?-(?:amd64|arm64|686|armmp|s390x|riscv64)\b")),
    (Maker.UBUNTU, re.compile(r"-\d+-[a-z]()")),
    (Maker.OTHER, re.compile(r"-\d()")),
)
_PROXMOX: Final = "-pve"
"""Proxmox VE builds Ubuntu's kernel, and gives it a stable release's number."""


def read_release(release: str, version: str = "") -> Release | None:
    """What a release tells; None for what is no release.

    :param version: ``uname -v``, empty where it is not known. Debian's has the sublevel.
    """
    parts = _VERSION.match(release)
    if parts is None:
        return None
    branch = (int(parts[1]), int(parts[2]))
    if debians := _DEBIANS_VERSION.search(version):
        return Release(Maker.KERNEL_ORG, branch, int(debians[3]))
    sublevel, rest = int(parts[3] or 0), parts[4]
    if rest.endswith(_PROXMOX):
        return Release(Maker.UBUNTU, branch, None)
    for maker, build in _BUILDS if not sublevel else ():
        if found := build.match(rest):
            return Release(maker, branch, int(found[1]) if found[1] else None)
    return Release(Maker.KERNEL_ORG, branch, sublevel)


class Belongs(Enum):
    """Whether a kernel with some release comes from a tree."""

    NO = "no"
    PERHAPS = "perhaps"
    YES = "yes"


@dataclass(frozen=True, slots=True)
class Tree:
    """A range of builds that took changes over from newer kernels.

    ``base`` is the mainline release on which they are based. ``first`` and ``last`` are builds of ``maker``; ``last``
    is None if the range has no end. If ``inferred``, not every build in it is known to have the changes. ``debian`` is
    the first of Debian's own build numbers in the range.
    """

    name: str
    base: tuple[int, int]
    maker: Maker
    proof: str
    first: int = 0
    last: int | None = None
    inferred: bool = False
    debian: int | None = None

    def has(self, release: Release) -> Belongs:
        """Whether a kernel of this release is of this tree."""
        if release.branch != self.base:
            return Belongs.NO
        first, last = self.first, self.last
        if release.maker is Maker.DEBIAN and self.debian is not None:
            first, last = self.debian, None
        elif release.maker is not self.maker:
            untold = release.maker is not Maker.KERNEL_ORG and self.maker is Maker.KERNEL_ORG
            return Belongs.PERHAPS if untold else Belongs.NO
        if release.build is None:
            return Belongs.PERHAPS
        if release.build < first or (last is not None and release.build > last):
            return Belongs.NO
        return Belongs.PERHAPS if self.inferred else Belongs.YES


STABLE_6_1: Final = Tree(
    "stable 6.1 since 6.1.84", (6, 1), Maker.KERNEL_ORG,
    "6.1.158 and 6.1.192 have it, 6.1.55 has it not; sent for 6.1.84 (182 of 272)",
    first=84, debian=20,  # linux-image-6.1.0-20-amd64 is 6.1.85
)  # fmt: skip
STABLE_6_6_3: Final = Tree(
    "stable 6.6.3 to 6.6.23", (6, 6), Maker.KERNEL_ORG,
    "6.6.22 has it, 6.6.0 has it not; sent for 6.6.3 (469 of 530)",
    first=3, last=23,
)  # fmt: skip
STABLE_6_6_24: Final = Tree(
    "stable 6.6.24 to 6.6.34", (6, 6), Maker.KERNEL_ORG,
    "6.6.22 has it not; sent for 6.6.24 (290 of 396), and said to be in it when the rest was sent for 6.6.35",
    first=24, last=34,
)  # fmt: skip
STABLE_6_6_35: Final = Tree(
    "stable 6.6 since 6.6.35", (6, 6), Maker.KERNEL_ORG,
    "6.6.63 has it; sent for 6.6.35 (240 of 267)",
    first=35,
)  # fmt: skip
STABLE_6_7: Final = Tree(
    "stable 6.7.12", (6, 7), Maker.KERNEL_ORG,
    "6.7.3 has it not; sent for 6.7.12 (304 of 432), the last of its branch",
    first=12,
)  # fmt: skip
STABLE_6_8: Final = Tree(
    "stable 6.8 since 6.8.3", (6, 8), Maker.KERNEL_ORG,
    "inferred: sent for 6.8.3 (257 of 399), but a tree that calls itself 6.8.11 has it not",
    first=3, inferred=True,
)  # fmt: skip
UBUNTU_6_8: Final = Tree(
    "6.8 as Ubuntu ships it", (6, 8), Maker.UBUNTU,
    "6.8.0-1019-nvidia has it; since which build of which flavour is not known",
    inferred=True,
)  # fmt: skip
RHEL_9: Final = Tree(
    "5.14 as RHEL 9 ships it", (5, 14), Maker.RHEL,
    "5.14.0-503.11.1.el9_5 has it; of those behind it that is inferred",
    first=503, inferred=True,
)  # fmt: skip
SLES_15: Final = Tree(
    "6.4 as SLES 15 SP6 ships it", (6, 4), Maker.SLES,
    "6.4.0-150600.23.22 has it; of other builds that is inferred",
    first=150600, inferred=True,
)  # fmt: skip
OPENEULER_24: Final = Tree(
    "6.6 as openEuler 24.03 ships it", (6, 6), Maker.OPENEULER,
    "6.6.0-28.0.0.34.oe2403 has it; of those behind it that is inferred",
    first=28, inferred=True,
)  # fmt: skip

TREES: Final = (
    *(UBUNTU_6_8, STABLE_6_8, STABLE_6_7, OPENEULER_24, STABLE_6_6_35, STABLE_6_6_24, STABLE_6_6_3, SLES_15),
    *(STABLE_6_1, RHEL_9),
)  # fmt: skip
"""All known trees. If a release may come from several, the likelier is first."""


def trees_of(release: Release) -> tuple[tuple[Tree, ...], bool]:
    """The trees that a kernel with this release may come from, and whether it surely comes from one of them."""
    sure = tuple(tree for tree in TREES if tree.has(release) is Belongs.YES)
    if sure:
        return sure, True
    return tuple(tree for tree in TREES if tree.has(release) is Belongs.PERHAPS), False
