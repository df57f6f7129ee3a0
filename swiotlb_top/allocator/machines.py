"""Which machines the reference models."""

from __future__ import annotations

from typing import Final

from swiotlb_top.constants import PAGE_SIZE
from swiotlb_top.errors import CannotError

_BYTE_ORDER: Final = "little"
_ALWAYS: Final = frozenset({"x86_64", "i686"})
"""Machines on which pages always have 4 KiB and the byte order is little: old recordings name only the machine."""


def check_machine(machine: str, page_size_bytes: int, byte_order: str) -> None:
    """Refuse a machine that the reference would judge wrongly, as it aligns requests to pages of 4 KiB.

    :param machine: as ``uname -m`` says.
    :param page_size_bytes: 0 where it is not known.
    :param byte_order: "little", "big", or empty where it is not known.
    :raises CannotError: pages have another size or it is big endian, or that is not known.
    """
    if machine in _ALWAYS and not page_size_bytes:
        return
    if not page_size_bytes:
        raise _refusal(machine, "the size of its pages is not known")
    if page_size_bytes != PAGE_SIZE:
        raise _refusal(machine, f"it has pages of {page_size_bytes / 1024:g} KiB")
    if byte_order != _BYTE_ORDER:
        raise _refusal(machine, f"it is {byte_order} endian")


def _refusal(machine: str, why: str) -> CannotError:
    return CannotError(
        f"no reference is known for this kernel ({machine}): {why}, and what can be judged are little-endian machines "
        f"with pages of {PAGE_SIZE // 1024} KiB"
    )
