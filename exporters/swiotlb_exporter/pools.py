"""Names for pools that stay the same for as long as the exporter runs, and give no address away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swiotlb_top.accounting.snapshot import PoolView


class PoolNames:
    """Calls the default pool "default" and the others "grown-1", "grown-2"... in the order they were added.

    Transient pools are left out: each lives for one mapping, and would be a series of its own.
    """

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def named(self, pools: Sequence[PoolView]) -> Iterator[tuple[str, PoolView]]:
        """The pools with their names; ``pools`` in search order, which is newest first (``list_add_rcu()``)."""
        for pool in reversed(pools):
            if pool.default:
                yield "default", pool
            elif not pool.transient:
                # setdefault evaluates len() before it inserts, which numbers from 1 with the + 1.
                yield self._names.setdefault(pool.address, f"grown-{len(self._names) + 1}"), pool
