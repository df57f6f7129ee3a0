"""Which pool an address means at a given time.

The kernel reuses addresses: the ``struct io_tlb_pool`` of a freed transient pool, and its pages, soon belong to another
pool. An unmap may even return after that; it means the pool that was there when it was invoked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Final, Generic, Protocol, TypeVar

from swiotlb_top.verify.operations.intervals import NEVER_NS

KEPT_NS: Final = 2_000_000_000
"""For how many nanoseconds a freed pool is remembered. An unmap that took longer is not resolved."""


class Placed(Protocol):
    """What is looked up by address: a pool, or an account of one. Its slots lie from ``start`` up to before ``end``."""

    @property
    def address(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


P = TypeVar("P", bound=Placed)


def are_apart(pools: Iterable[Placed]) -> bool:
    """Whether no pool has memory of another."""
    in_memory = sorted(pools, key=lambda pool: pool.start)
    return all(one.end <= other.start for one, other in pairwise(in_memory))


class _Life(Generic[P]):
    """A pool, and from when to when it existed."""

    __slots__ = ("freed_ns", "pool", "since_ns")

    def __init__(self, pool: P, since_ns: int) -> None:
        self.pool = pool
        self.since_ns = since_ns
        self.freed_ns = NEVER_NS

    def covers(self, tlb_addr: int) -> bool:
        return self.pool.start <= tlb_addr < self.pool.end


class PoolsByAddress(Generic[P]):
    """The pools of one stream, by the address of their ``struct io_tlb_pool`` and by the addresses of their slots.

    :param pools: exist from the beginning.
    """

    def __init__(self, pools: Iterable[P] = ()) -> None:
        self._there: dict[int, _Life[P]] = {}
        """Pools that exist, by the address of the struct; the youngest last."""
        self._gone: deque[_Life[P]] = deque()
        """Pools that were freed in the last :data:`KEPT_NS`, the latest last."""
        self._last_hit: _Life[P] | None = None
        for pool in pools:
            self.add(pool, 0)

    def add(self, pool: P, since_ns: int) -> None:
        """A pool was allocated. If another one was at its address, that one was freed, whether this was seen or not."""
        self.free(pool.address, since_ns)
        self._there[pool.address] = _Life(pool, since_ns)
        self._last_hit = None

    def free(self, address: int, at_ns: int) -> None:
        """The pool at this address was freed. Does nothing if none is known there."""
        life = self._there.pop(address, None)
        if life is None:
            return
        life.freed_ns = at_ns
        self._gone.append(life)
        self._last_hit = None
        while self._gone[0].freed_ns < at_ns - KEPT_NS:
            self._gone.popleft()

    def now(self, address: int) -> P | None:
        """The pool whose struct is at this address, by what was seen so far."""
        life = self._there.get(address)
        return life.pool if life else None

    def since_ns(self, address: int) -> int:
        """When the pool at this address was allocated; 0 if that was not seen."""
        life = self._there.get(address)
        return life.since_ns if life else 0

    def now_around(self, tlb_addr: int) -> P | None:
        """The pool that has the slot at this address, by what was seen so far: the youngest one that ever had it."""
        life = self._last_hit
        if life is None or not life.covers(tlb_addr):
            life = self._last_hit = next((one for one in reversed(self._there.values()) if one.covers(tlb_addr)), None)
        return life.pool if life else None

    def told_from_ns(self, pools: Collection[P]) -> int:
        """After which time the address of a slot tells which of these pools has it; never, if there are others."""
        if any(life.pool not in pools for life in self._there.values()):
            return NEVER_NS - 1
        return self._gone[-1].freed_ns if self._gone else 0

    def released_in(self, address: int, tlb_addr: int, from_ns: int, until_ns: int) -> tuple[P, ...]:
        """The pools whose mapping a release may have released.

        :param address: the address of the pool's struct; 0 if the kernel does not pass it.
        :param tlb_addr: the address of the buffer.
        :param from_ns: the earliest time at which the release was invoked.
        :param until_ns: the latest.
        :returns: mostly one pool; none if it was never seen; several, the oldest first, if one pool had the addresses
            of another after it in that time.
        """
        life = self._there.get(address) if address else self._life_around(tlb_addr)
        if life is not None and life.since_ns <= from_ns and (address or not self._freed_since(from_ns)):
            return (life.pool,)
        known = (life for life in (*self._gone, *self._there.values()) if life.since_ns <= until_ns)
        lives = [life for life in known if (not address or life.pool.address == address) and life.covers(tlb_addr)]
        # Where another pool has the same memory later, the one before was freed, whether that was seen or not.
        lives.sort(key=lambda life: life.since_ns)
        ends_ns = [min(one.freed_ns, next_.since_ns) for one, next_ in pairwise(lives)]
        ends_ns += [life.freed_ns for life in lives[-1:]]
        # A release invoked after all of them were freed is a fault, and is blamed on the last one.
        there = tuple(life.pool for life, end_ns in zip(lives, ends_ns, strict=True) if from_ns <= end_ns)
        return there or tuple(life.pool for life in lives[-1:])

    def _freed_since(self, from_ns: int) -> bool:
        """Whether a pool was freed since then: a release may then be of one that is not there any more."""
        return bool(self._gone) and self._gone[-1].freed_ns >= from_ns

    def _life_around(self, tlb_addr: int) -> _Life[P] | None:
        self.now_around(tlb_addr)
        return self._last_hit
