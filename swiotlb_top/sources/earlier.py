"""Whose the mappings are that were there before the probes came.

The kernel notes the slots of a mapping, and not the device. So a mapping that is found when the probes are attached is
nobody's, until the device shows itself: it syncs the mapping, or releases it. Syncs are probed for that, only until
each mapping has its device, and not for longer than :data:`PATIENCE_NS`: a ring that nobody uses is never synced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from swiotlb_top.accounting.snapshot import NOTHING_EARLIER, Earlier
from swiotlb_top.allocator import adopt
from swiotlb_top.allocator.geometry import slot_addr
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE
from swiotlb_top.probes.read.holdings import Holdings, Says
from swiotlb_top.state import MemState

PATIENCE_NS: Final = 300_000_000_000


class _Found(NamedTuple):
    """A mapping that was there."""

    tlb_addr: int
    """Of its first slot."""
    nslots: int
    dev: int


class EarlierMappings:
    """The mappings that were there, by what the probes have seen of them since.

    :param found: what :func:`mappings_of` found after the probes were attached.
    :param holdings: what the probes keep.
    """

    def __init__(self, found: Iterable[tuple[int, int]], holdings: Holdings) -> None:
        self._holdings = holdings
        self._unmaps: defaultdict[int, int] = defaultdict(int)
        self._open = [_Found(*each, UNKNOWN_DEVICE) for each in found]
        self._unowned = 0
        self.look()

    def look(self) -> None:
        """Learn what the probes have seen since the last look."""
        self._open = list(self._still_open())
        self._unowned = sum(found.dev == UNKNOWN_DEVICE for found in self._open)

    @property
    def unowned_maps(self) -> int:
        """Open mappings whose device has not shown itself."""
        return self._unowned

    @property
    def slots(self) -> int:
        """Slots of the open mappings, whoever has them."""
        return sum(found.nslots for found in self._open)

    def of_devices(self) -> Mapping[int, Earlier]:
        """What is known of each device that has shown itself, by ``struct device *``."""
        known = {dev: Earlier(unmaps=unmaps) for dev, unmaps in self._unmaps.items()}
        for _, nslots, dev in self._open:
            if dev != UNKNOWN_DEVICE:
                maps, slots, unmaps = known.get(dev, NOTHING_EARLIER)
                known[dev] = Earlier(maps + 1, slots + nslots, unmaps)
        return known

    def _still_open(self) -> Iterator[_Found]:
        for found in self._open:
            dev = found.dev
            for cell in self._holdings.of_slots(found.tlb_addr, found.nslots):
                if cell.says is Says.SYNCED:
                    dev = cell.dev
                    continue
                if cell.says is Says.RELEASED:
                    self._unmaps[cell.dev] += 1
                # Else it was made since the probes came, or the release was missed and another mapping is there now.
                break
            else:
                yield _Found(found.tlb_addr, found.nslots, dev)


def mappings_of(state: MemState) -> Iterator[tuple[int, int]]:
    """Address of the first slot and number of slots of each mapping that a copy of the slots shows."""
    for pool in state.pools:
        for mapping in adopt(pool, check=False).pool.mappings():
            yield slot_addr(pool.start, mapping.slot), mapping.nslots
