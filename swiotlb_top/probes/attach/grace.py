"""Waiting until what runs in the kernel now is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from threading import Thread
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel import symbols
from swiotlb_top.probes.attach import libbpf
from swiotlb_top.probes.attach.libbpf import AttachType, ProgramType, RefusedError
from swiotlb_top.probes.compile.image import MapSpec

_ARRAY: Final = 2  # BPF_MAP_TYPE_ARRAY
_ARRAY_OF_MAPS: Final = 12  # BPF_MAP_TYPE_ARRAY_OF_MAPS
_DESCRIPTOR_BYTES: Final = 4
_DOES_NOTHING: Final = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit
_MOST_S: Final = 10.0
_LOOK_S: Final = 0.05
"""Looking itself takes some 0.1 s: kallsyms has 200,000 lines."""


class Grace:
    """Waits for an RCU grace period, by means of an array of maps.

    When an entry of such an array changes, the kernel calls synchronize_rcu(), so that no program goes on with the old
    map (maybe_wait_bpf_programs(); 1ae80cf31938, "bpf: wait for running BPF programs when updating map-in-map", 5.0).
    Afterwards every program that ran before has ended, even if its task was preempted in it, and every CPU has been
    idle, in another task or in userspace. So most calls that were under way have returned, all but those of tasks
    preempted in the kernel (CONFIG_PREEMPT). membarrier(2) would do the same, but not on a machine with one CPU, and
    not on CPUs without a tick.

    :raises RefusedError: the kernel does not create such a map.
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
        """Wait until the grace period is over, some milliseconds. :raises CannotError: the kernel refuses."""
        status = libbpf.update(self._outer, self._inner.to_bytes(_DESCRIPTOR_BYTES, "little"))
        if status:
            raise CannotError(f"the kernel does not wait for what runs in it (error {status})")

    def close(self) -> None:
        """Free both maps."""
        self._close()


class TaskGrace:
    """A program that does nothing, for a function that nobody calls: its trampoline tells what no system call does.

    When its last program has been detached, a trampoline is freed by call_rcu_tasks() (bpf_tramp_image_put();
    e21aa341785c, "bpf: Fix fexit trampoline.", 5.12). By then every task has been out of the kernel or gone to sleep by
    itself, also one that was preempted in it; and all is over that :meth:`Grace.wait` waits for. Until then kallsyms
    lists it (a108f7dcfa01, "bpf: Add trampolines to kallsyms", 5.7). Up to 6.19 detaching, too, takes until then
    (ftrace_shutdown()), which is why a thread does it.

    So every call of swiotlb's is over that was under way, since none sleeps. That does not hold for
    ``swiotlb_dyn_alloc()``, which allocates memory to grow; nor where waiting for a lock is sleeping
    (:attr:`.Preemption.REAL_TIME`).

    :param function_id: the function's number in the kernel's BTF; None: there is none.
    """

    def __init__(self, function_id: int | None) -> None:
        self._function_id = function_id or 0
        self._program: int | None = None
        if function_id is not None:
            with suppress(RefusedError):
                self._program = libbpf.load_program(
                    "nothing", ProgramType.TRACING, _DOES_NOTHING, AttachType.FENTRY, function_id
                )

    def wait(self, meanwhile: Callable[[], object]) -> bool:
        """Return whether that is so, of the time when this was called; False where it does not show within seconds.

        :param meanwhile: is called again and again.
        """
        try:
            return self._program is not None and self._comes_and_goes(self._program, meanwhile)
        except (OSError, RefusedError):
            return False

    def close(self) -> None:
        """Free the program."""
        if self._program is not None:
            os.close(self._program)
            self._program = None

    def _comes_and_goes(self, program: int, meanwhile: Callable[[], object]) -> bool:
        link = libbpf.attach_tracing(program)
        detaching = Thread(target=os.close, args=(link,), daemon=True)
        try:
            shows = symbols.trampolines(self._function_id) > 0
        finally:
            detaching.start()
        end_s = time.monotonic() + _MOST_S
        # With somebody else's there is always one, and nothing shows.
        while detaching.is_alive() or symbols.trampolines(self._function_id):
            if time.monotonic() > end_s:
                return False
            meanwhile()
            time.sleep(_LOOK_S)
        return shows
