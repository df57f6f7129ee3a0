"""What a metric is: its name, and where in what was seen its samples are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from swiotlb_exporter.devices import Totals, Who
from swiotlb_exporter.findings import Told
from swiotlb_exporter.wanted import Part, Wanted
from swiotlb_top.accounting.snapshot import PoolView, Snapshot

Sample: TypeAlias = tuple[tuple[str, ...], Any]
"""Label values, in the order of the labels, and the value: a number, or a :class:`.Histogram`."""


class Seen(NamedTuple):
    """A snapshot, with its devices and pools as they are labelled."""

    snapshot: Snapshot
    devices: Mapping[Who, Totals]
    pools: Sequence[tuple[str, PoolView]]
    findings: Told


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric family; a counter's ``name`` is without the ``_total`` that is added on the wire."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str
    samples: Callable[[Seen], Iterable[Sample]]
    part: Part | None = None
    """What it is of that can be left out; of :attr:`Part.ZERO_CAUSES`, only samples that are 0."""

    def wanted_samples(self, seen: Seen, wanted: Wanted) -> Iterator[Sample]:
        """The samples that the operator wants."""
        if self.part not in wanted.without:
            yield from self.samples(seen)
        elif self.part is Part.ZERO_CAUSES:
            yield from (sample for sample in self.samples(seen) if sample[1])
