"""Who is told each mapping as an account enters it, so that exports and the screen stand on the same books."""

from __future__ import annotations

from swiotlb_top.accounting.pool_account import Held, PoolAccount
from swiotlb_top.events import Find, Free, Map, Unmap


class Watcher:
    """Is told each mapping as an account enters it. ``pool`` is None where it is not known, or is a device's own."""

    def mapped(self, call: Find | Map, size_bytes: int, nslots: int, pool: PoolAccount | None, slot: int) -> None:
        """A map got ``nslots`` slots, from ``slot`` on, for a buffer of ``size_bytes``."""

    def refused(self, call: Find | Map, size_bytes: int, nslots: int) -> None:
        """A map got nothing."""

    def unreachable(self, call: Unmap, size_bytes: int, nslots: int) -> None:
        """A map got ``nslots`` slots or one more that the device cannot reach, and failed; next, they are released."""

    def released(self, call: Unmap | Free, pool: PoolAccount | None, slot: int, held: Held) -> None:
        """A mapping ended, whose buffer begins in ``slot``; ``held`` is what is known of it."""
