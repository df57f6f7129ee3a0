"""Which pool an address means at a time.

The kernel uses addresses again: the ``struct io_tlb_pool`` of a transient pool that was freed, and its pages, soon
belong to another pool. An unmap may even return after that: it means the pool that was there when it was entered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

from swiotlb_top.verify.operations.intervals import NEVER_NS

KEPT_NS: Final = 2_000_000_000
"""How long a freed pool is remembered: a call that was entered before that is not resolved any more."""


class Placed(Protocol):
    """What is looked up: a pool, or an account of one."""

    @property
    def address(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


P = TypeVar("P", bound=Placed)


class _Life(Generic[P]):
    """A pool, and from when to when its addresses were its own."""

    __slots__ = ("freed_ns", "pool", "since_ns")

    def __init__(self, pool: P, since_ns: int) -> None:
        self.pool = pool
        self.since_ns = since_ns
        self.freed_ns = NEVER_NS

    def covers(self, tlb_addr: int) -> bool:
        return self.pool.start <= tlb_addr < self.pool.end


class PoolsByAddress(Generic[P]):
    """Pools of one stream, by the address of their struct and by the addresses of their slots.

    :param pools: are there from the beginning, and for good unless they are freed.
    """

    def __init__(self, pools: Iterable[P] = ()) -> None:
        self._there: dict[int, _Life[P]] = {}
        """By the address of the struct; the youngest last."""
        self._gone: deque[_Life[P]] = deque()
        """Freed, the latest last."""
        self._last_hit: _Life[P] | None = None
        for pool in pools:
            self.add(pool, 0)

    def add(self, pool: P, since_ns: int) -> None:
        """A pool was allocated. One that was at its address before is gone, whether that was seen or not."""
        self.free(pool.address, since_ns)
        self._there[pool.address] = _Life(pool, since_ns)
        self._last_hit = None

    def free(self, address: int, at_ns: int) -> None:
        """The memory of the pool at this address, if one is there, went back to the kernel."""
        life = self._there.pop(address, None)
        if life is None:
            return
        life.freed_ns = at_ns
        self._gone.append(life)
        self._last_hit = None
        while self._gone[0].freed_ns < at_ns - KEPT_NS:
            self._gone.popleft()

    def now(self, address: int) -> P | None:
        """The pool whose struct is at this address, as far as was seen until now."""
        life = self._there.get(address)
        return life.pool if life else None

    def since_ns(self, address: int) -> int:
        """When the pool at this address was allocated; 0 where that was not seen."""
        life = self._there.get(address)
        return life.since_ns if life else 0

    def now_around(self, tlb_addr: int) -> P | None:
        """The pool that has the slot at this address, as far as was seen until now: the youngest that had it."""
        life = self._last_hit
        if life is None or not life.covers(tlb_addr):
            life = self._last_hit = next((one for one in reversed(self._there.values()) if one.covers(tlb_addr)), None)
        return life.pool if life else None

    def released_in(self, address: int, tlb_addr: int, from_ns: int, until_ns: int) -> tuple[P, ...]:
        """The pools that may have the mapping whose release was entered between two times: mostly one, none where
        it was never seen, and the oldest first where one had the other's addresses after it.

        :param address: of the pool's struct; 0 where nobody says.
        """
        life = self._there.get(address) if address else self._life_around(tlb_addr)
        if life is not None and life.since_ns <= from_ns:
            return (life.pool,)
        known = (life for life in (*self._gone, *self._there.values()) if life.since_ns <= until_ns)
        lives = [life for life in known if (not address or life.pool.address == address) and life.covers(tlb_addr)]
        # A release that came after all of them were freed is a fault, and the last one's.
        return tuple(life.pool for life in lives if from_ns <= life.freed_ns) or tuple(life.pool for life in lives[-1:])

    def _life_around(self, tlb_addr: int) -> _Life[P] | None:
        self.now_around(tlb_addr)
        return self._last_hit
