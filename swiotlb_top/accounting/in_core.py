"""The account's part in the native core: it gets a copy of what is open, and the account adds what the core counted.

The core counts searches that found slots, and releases of them, in pools on the list and of devices without a pool of
their own. It stops at whatever else there is, which the account counts itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from swiotlb_top.accounting.device import DeviceAccount
from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.durations import BOUNDS_NS
from swiotlb_top.accounting.pool_account import Held, PoolAccount
from swiotlb_top.accounting.snapshot import HOLD_BUCKETS_NS
from swiotlb_top.allocator import Revision
from swiotlb_top.allocator.mapping import UNKNOWN_DEVICE
from swiotlb_top.constants import IO_TLB_SEGSIZE
from swiotlb_top.events import Find, Map
from swiotlb_top.native import core, layout
from swiotlb_top.records import RECORD_BYTES, decode
from swiotlb_top.verify.operations.pools_by_address import are_apart


class Kept(Protocol):
    """Of an account, what the core adds to, and what it must know for that."""

    revision: Revision
    devices: Devices
    pools: dict[int, PoolAccount]
    maps: int
    unmaps: int
    used_slots: int
    used_hiwater_slots: int

    def since_ns(self, pool: PoolAccount) -> int: ...

    def told_from_ns(self) -> int: ...


_MANY: Final = 64
"""Of so many pools or devices nothing is counted at once."""
_MOST_SLOTS: Final = 1 << 19
_SLOTS_AS_ONE: Final = 64
"""To copy so many slots takes as long as to count a call,"""
_DEVICE_AS: Final = 32
"""and to copy a device as long as to count so many."""
_LATENCY_BOUNDS: Final = (ctypes.c_uint64 * len(BOUNDS_NS))(*BOUNDS_NS)
_HOLD_BOUNDS: Final = (ctypes.c_uint64 * len(HOLD_BUCKETS_NS))(*HOLD_BUCKETS_NS)


def cost_of(pools: Iterable[PoolAccount], devices: int) -> int:
    """What it takes to copy what is open, and to take the copy back: as long as to count so many calls."""
    return _DEVICE_AS * (1 + devices) + sum(len(pool.live) + pool.nslabs // _SLOTS_AS_ONE for pool in pools)


def count_at_once(account: Kept, data: bytes, place: int) -> int:
    """Count calls from the record at a place on, up to the first that the core does not know. Returns how many."""
    library, pools = core(), [*account.pools.values()]
    devices = [device for dev, device in account.devices.items() if dev != UNKNOWN_DEVICE and not device.restricted]
    if (
        library is None
        or max(len(pools), len(devices)) > _MANY
        or sum(pool.nslabs for pool in pools) > _MOST_SLOTS
        or any(pool.next for pool in pools)
        or not are_apart(pools)
    ):
        return 0
    of_devices = [_DeviceBooks(device) for device in devices]
    try:
        of_pools = [_PoolBooks(pool, account) for pool in pools]
    except ValueError:
        return 0
    books = layout.Books(
        (layout.PoolBooks * len(pools))(*(one.struct for one in of_pools)),
        structs := (layout.DeviceBooks * len(devices))(*(one.struct for one in of_devices)),
        _LATENCY_BOUNDS, _HOLD_BOUNDS, len(pools), len(devices), len(_LATENCY_BOUNDS), len(_HOLD_BOUNDS),
        account.revision.pads_slots, account.revision.rounds_size, account.told_from_ns(),
        account.used_slots, account.used_hiwater_slots,
    )  # fmt: skip
    address = (ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0) + place * RECORD_BYTES
    count = int(library.counted(books, address, len(data) // RECORD_BYTES - place))
    if not count:
        return 0
    account.used_slots, account.used_hiwater_slots = books.used_slots, books.used_hiwater_slots
    account.maps += sum(struct.maps for struct in structs)
    account.unmaps += sum(struct.unmaps for struct in structs)
    ended: dict[int, list[Find | Map]] = {}
    began: list[tuple[int, Held]] = []
    for pool in of_pools:
        for held in pool.gone():
            if held.call is not None:
                ended.setdefault(held.dev, []).append(held.call)
        began += pool.take_over(library, data, place)
    for one, struct in zip(of_devices, structs, strict=True):
        one.take_over(struct, ended.get(one.device.dev, []))
    for _, held in sorted(began, key=lambda made: made[0]):
        account.devices[held.dev].lifetimes.began(held.call)  # type: ignore[arg-type]  # it was made just now
    return count


class _PoolBooks:
    """The open mappings of one pool.

    :raises ValueError: one has more slots than any can have, or none.
    """

    def __init__(self, pool: PoolAccount, account: Kept) -> None:
        self._pool = pool
        self._used = ctypes.c_int64(pool.used_slots)
        self._live = bytearray(layout.HELD.size * pool.nslabs)
        self._outside = {slot: held for slot, held in pool.live.items() if not 0 <= slot < pool.nslabs}
        if any(not 0 < held.nslots <= IO_TLB_SEGSIZE for held in pool.live.values()):
            raise ValueError
        for slot, held in pool.live.items():
            if slot not in self._outside:
                began_ns = account.devices[held.dev].lifetimes.begin_of(held.call) if held.call else None
                open_ns = layout.NOT_OPEN if began_ns is None else began_ns
                layout.HELD.pack_into(self._live, slot * layout.HELD.size, held.nslots, 0, held.dev, open_ns)
        self.struct = layout.PoolBooks(
            pool.address,
            pool.start,
            account.since_ns(pool),
            pool.nslabs,
            ctypes.pointer(self._used),
            ctypes.addressof((ctypes.c_char * len(self._live)).from_buffer(self._live)),
        )

    def gone(self) -> Iterator[Held]:
        """The mappings that were released."""
        return (held for slot, held in self._pool.live.items() if not self._is_as_before(slot))

    def take_over(self, library: ctypes.CDLL, data: bytes, place: int) -> list[tuple[int, Held]]:
        """Make the pool's account what the core has made of it.

        :returns: the mappings that came, each with the place of its record.
        """
        pool = self._pool
        slots = (ctypes.c_uint32 * pool.nslabs)()
        entered = slots[: library.entered(self.struct, slots)]
        pool.live = {slot: held for slot, held in pool.live.items() if self._is_as_before(slot)}
        pool.used_slots = self._used.value
        came = []
        held = {slot: layout.HELD.unpack_from(self._live, slot * layout.HELD.size) for slot in entered}
        for slot, (nslots, made_by, dev, _) in sorted(held.items(), key=lambda one: one[1][1]):
            at = place + made_by - 1
            (call,) = decode(data[at * RECORD_BYTES : (at + 1) * RECORD_BYTES])
            pool.live[slot] = Held(nslots, dev, call)  # type: ignore[arg-type]  # the core enters searches
            came.append((at, pool.live[slot]))
        return came

    def _is_as_before(self, slot: int) -> bool:
        if slot in self._outside:
            return True
        nslots, made_by, _, _ = layout.HELD.unpack_from(self._live, slot * layout.HELD.size)
        return bool(nslots) and not made_by


class _DeviceBooks:
    """What is added to the account of one device."""

    def __init__(self, device: DeviceAccount) -> None:
        self.device = device
        self._cells = (ctypes.c_uint64 * (len(BOUNDS_NS) + 1))()
        self._latencies, self._lifetimes = layout.Latest(), layout.Latest()
        limits = device.limits
        self.struct = layout.DeviceBooks(
            dev=device.dev,
            min_align_mask=limits.min_align_mask,
            phys_limit=limits.phys_limit,
            introduced=bool(device.mem),
            longest_ns=device.lifetimes.longest_ns,
            cells=self._cells,
            latencies=ctypes.pointer(self._latencies),
            lifetimes=ctypes.pointer(self._lifetimes),
        )

    def take_over(self, books: layout.DeviceBooks, ended: list[Find | Map]) -> None:
        """Add what the core counted."""
        device = self.device
        device.maps += books.maps
        device.unmaps += books.unmaps
        device.mapped_bytes += books.mapped_bytes
        device.asked_slots += books.asked_slots
        device.held_slots += books.held_slots
        for own, more in ((device.by_direction_bytes, books.by_direction_bytes), (device.sizes, books.sizes)):
            own[:] = [one + other for one, other in zip(own, more, strict=True)]
        tried = device.tried
        translated, beyond, small, within = books.tried
        tried.translated += translated
        tried.beyond += beyond
        tried.small += small
        tried.within += within
        device.lifetimes.longest_ns = books.longest_ns
        device.latencies.add_many(self._cells, books.latency_sum_ns, self._latencies.in_order())
        device.lifetimes.ended_many(ended, books.holds, self._lifetimes.in_order())
