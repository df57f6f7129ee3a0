"""How many requests can be in flight to the disks of a device: what their queues hold.

``nr_requests`` is of each hardware queue, and a request that a driver has been given has a place in one of them
(block/blk-mq.c); so many are the most, and on some drivers, whose hardware queues share their places, fewer.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from swiotlb_top.kernel import settings
from swiotlb_top.kernel.known_as import disks

MOST_REQUESTS: Final = (1 << 31) - 1
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


def queue_requests(name: str, driver: str = "", root: Path = settings.ROOT) -> int:
    """The most requests that can be in flight to all disks of a device; 0 where it has none, or that is not known.

    :param name: of the device, as ``/sys/bus`` names it, and its ``driver``.
    :param root: has sys/.
    """
    depths = [_depth(disk) for disk in disks(name, driver, root) or []]
    return min(sum(depths), MOST_REQUESTS) if all(depths) else 0


def _depth(disk: Path) -> int:
    """Of one disk; 0 where sysfs does not tell."""
    told = settings.text("nr_requests", disk / "queue")
    try:
        hardware_queues = sum(entry.is_dir() for entry in (disk / "mq").iterdir())
    except OSError:
        return 0
    return int(told) * hardware_queues if _NUMBER.fullmatch(told) else 0
