"""Waiting until what runs in the kernel now is over."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.probes.attach import libbpf
from swiotlb_top.probes.compile.image import MapSpec

_ARRAY: Final = 2  # BPF_MAP_TYPE_ARRAY
_ARRAY_OF_MAPS: Final = 12  # BPF_MAP_TYPE_ARRAY_OF_MAPS
_DESCRIPTOR_BYTES: Final = 4


class Grace:
    """An array of maps. Whoever changes it wants no program to go on with the old map, so that the kernel waits.

    It waits by synchronize_rcu() (maybe_wait_bpf_programs(); 1ae80cf31938, "bpf: wait for running BPF programs when
    updating map-in-map", 5.0): programs are over then that ran before, also those of tasks that were preempted in them,
    and every CPU has been out of what it was in: idle, in another task or in userspace. So most calls are over that
    were under way, but for those of tasks preempted in the kernel (CONFIG_PREEMPT). membarrier(2) does the same, but
    not where there is one CPU, and not where some have no tick.

    :raises RefusedError: the kernel makes no such map.
    """

    def __init__(self) -> None:
        with ExitStack() as made:
            self._inner = libbpf.create_map(MapSpec("nothing", _ARRAY, _DESCRIPTOR_BYTES, _DESCRIPTOR_BYTES, 1, 0))
            made.callback(os.close, self._inner)
            asked = MapSpec("grace", _ARRAY_OF_MAPS, _DESCRIPTOR_BYTES, _DESCRIPTOR_BYTES, 1, 0)
            self._outer = libbpf.create_map(asked, inner=self._inner)
            made.callback(os.close, self._outer)
            self._close = made.pop_all().close

    def wait(self) -> None:
        """Some milliseconds. :raises CannotError: the kernel refuses."""
        status = libbpf.update(self._outer, self._inner.to_bytes(_DESCRIPTOR_BYTES, "little"))
        if status:
            raise CannotError(f"the kernel does not wait for what runs in it (error {status})")

    def close(self) -> None:
        """Free both maps."""
        self._close()
