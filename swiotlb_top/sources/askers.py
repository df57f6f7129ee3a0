"""Who asked for the maps that failed: the stacks that the probes keep, with names for addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from swiotlb_top.accounting.snapshot import Asker
from swiotlb_top.kernel.functions import Functions, who_asked
from swiotlb_top.probes.read.askers import Asked
from swiotlb_top.probes.read.program import Program


class Askers:
    """Reads the stacks of attached probes again whenever more maps have failed."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._functions = Functions()
        self._read_at_failures = 0
        self._by_device: dict[int, tuple[Asker, ...]] = {}

    def of_devices(self, map_failures: int) -> dict[int, tuple[Asker, ...]]:
        """By ``struct device *``, most failures first.

        :param map_failures: how many maps have failed, of all devices.
        """
        if map_failures != self._read_at_failures:
            self._read_at_failures = map_failures
            self._by_device = {dev: self._named(asked) for dev, asked in self._program.askers().items()}
        return self._by_device

    def _named(self, asked: Iterable[Asked]) -> tuple[Asker, ...]:
        failures: Counter[tuple[str, ...]] = Counter()
        for each in asked:
            failures[who_asked(self._functions.names(each.addresses))] += each.failures
        return tuple(Asker(functions, count) for functions, count in failures.most_common())

    def close(self) -> None:
        """Let go of kallsyms."""
        self._functions.close()
