"""Where sysfs has a device."""

from __future__ import annotations

import os
from pathlib import Path

from swiotlb_top.kernel import settings


def place_of(name: str, driver: str = "", root: Path = settings.ROOT) -> Path | None:
    """The directory of a device; None if there is none, or more than one that may be meant.

    :param name: of the device, as ``/sys/bus`` names it.
    :param driver: tells which device is meant if several buses have one of that name; empty: any.
    :param root: has sys/.
    """
    if not name or "/" in name or name in (".", ".."):
        return None
    found = set()
    try:
        for bus in (root / "sys/bus").iterdir():
            link = bus / "devices" / name
            if link.exists() and driver in ("", target(link / "driver")):
                found.add(link.resolve())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle
        return None
    return found.pop() if len(found) == 1 else None


def target(link: Path) -> str:
    """The last part of where a link points to; empty if there is none."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""
