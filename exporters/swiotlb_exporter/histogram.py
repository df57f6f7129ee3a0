"""Histograms, counted in classic buckets and in native ones, which only some forms of the page can say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from prometheus_client import Metric
from prometheus_client.core import Sample


@dataclass(frozen=True, slots=True)
class Native:
    """Observations by the number of their bucket; the upper bound of bucket i is 2**(i / 2**schema)."""

    schema: int
    counts: Mapping[int, int]

    def spans(self) -> Iterator[tuple[int, int]]:
        """Runs of buckets that are not empty, as (offset, length).

        The offset is how many empty buckets precede the run; for the first run, the number of its first bucket, which
        may be negative.
        """
        end = 0
        for _, run in groupby(enumerate(self._filled()), lambda placed: placed[1] - placed[0]):
            indices = [index for _, index in run]
            yield indices[0] - end, len(indices)
            end = indices[-1] + 1

    def deltas(self) -> Iterator[int]:
        """For each bucket of the spans, its count minus that of the bucket before it."""
        before = 0
        for index in self._filled():
            yield self.counts[index] - before
            before = self.counts[index]

    def _filled(self) -> list[int]:
        return sorted(index for index, number in self.counts.items() if number)


def beyond(schema: int) -> int:
    """The number of the bucket for values above the largest finite bound."""
    return (1024 << schema) + 1


@dataclass(frozen=True, slots=True)
class Histogram:
    """What was observed of one thing; ``classic`` buckets are cumulative, by upper bounds, the last "+Inf"."""

    classic: list[tuple[str, int]]
    total: float
    native: Native

    @property
    def count(self) -> int:
        return self.classic[-1][1]


class HistogramFamily(Metric):
    """A family whose samples are the classic buckets; ``histograms`` has both kinds, with their labels."""

    def __init__(self, name: str, documentation: str) -> None:
        super().__init__(name, documentation, "histogram")
        self.histograms: list[tuple[dict[str, str], Histogram]] = []

    def add(self, labels: dict[str, str], histogram: Histogram) -> None:
        """Another thing's."""
        self.histograms.append((labels, histogram))
        for bound, count in histogram.classic:
            self.samples.append(Sample(f"{self.name}_bucket", {**labels, "le": bound}, count))
        self.samples.append(Sample(f"{self.name}_count", labels, histogram.count))
        self.samples.append(Sample(f"{self.name}_sum", labels, histogram.total))
