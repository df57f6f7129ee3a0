"""Who asked for the mappings that failed: the kernel's stacks then, as the probes keep them (bpf/swiotlb_top.c)."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

KEY: Final = struct.Struct("<QQq")
"""``struct asker``: device, its generation, number of the stack."""
COUNT: Final = struct.Struct("<Q")
"""How many maps failed so."""


class Asked(NamedTuple):
    """Maps of one device that failed in the same stack."""

    addresses: tuple[int, ...]
    """Return addresses, the innermost first; none where the kernel did not give the stack."""
    failures: int


def failures_by_stack(
    entries: Iterable[tuple[bytes, bytes]], generations: Mapping[int, int]
) -> dict[int, dict[int, int]]:
    """Failed maps by ``struct device *`` and by the number of the stack, negative where the kernel gave none.

    :param entries: keys and values of the probes' table.
    :param generations: of the devices that are there; what one failed to map that was at its address before is not its.
    """
    found: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for key, value in entries:
        dev, generation, stack = KEY.unpack(key)
        if generations.get(dev, 0) == generation:
            number = max(stack, -1)
            found[dev][number] = found[dev].get(number, 0) + COUNT.unpack(value)[0]
    return dict(found)


def addresses_of(stack: bytes) -> tuple[int, ...]:
    """The addresses in a ``struct stack``, which ends where there are no more of them."""
    addresses = struct.unpack(f"<{len(stack) // 8}Q", stack)
    return addresses[: addresses.index(0)] if 0 in addresses else addresses
