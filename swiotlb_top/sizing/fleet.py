"""Several recordings at once: the worst of them in every size, and what 99 of 100 need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from swiotlb_top.sizing.sized import How, Row, Sized, Standing


@dataclass(frozen=True, slots=True)
class Merged:
    """What one size does to all recordings."""

    rows: tuple[Row, ...]
    """One of each recording."""

    @property
    def nslabs(self) -> int:
        return self.rows[0].configuration.nslabs

    @property
    def nareas(self) -> int:
        """The most of any; fewer would fail no sooner."""
        return max(row.configuration.nareas for row in self.rows)

    @property
    def dynamic(self) -> bool:
        """Whether any grows."""
        return any(row.configuration.dynamic for row in self.rows)

    @property
    def standing(self) -> Standing:
        """The worst."""
        order = list(Standing)
        return max((row.standing for row in self.rows), key=order.index)

    @property
    def how(self) -> How:
        """The least sure, of those that stand as bad as the worst."""
        order = list(How)
        return max((row.how for row in self.rows if row.standing is self.standing), key=order.index)

    @property
    def failures(self) -> int | None:
        """Of all together."""
        return _told(sum, [row.failures for row in self.rows])

    @property
    def peak_slots(self) -> int | None:
        return _told(max, [row.peak_slots for row in self.rows])

    @property
    def high_water_slots(self) -> int | None:
        return _told(max, [row.high_water_slots for row in self.rows])

    @property
    def pools_added(self) -> int | None:
        return _told(max, [row.pools_added for row in self.rows])

    @property
    def transient_pools(self) -> int | None:
        return _told(max, [row.transient_pools for row in self.rows])

    @property
    def longest_wait_ns(self) -> int:
        """For a new pool; 0 where none was added."""
        return max(row.outcome.longest_wait_ns if row.outcome else 0 for row in self.rows)

    @property
    def memory_bytes(self) -> int:
        return max(row.memory_bytes for row in self.rows)

    @property
    def roomy_percent(self) -> float:
        """Share of the recordings that it serves with headroom."""
        return 100 * sum(row.roomy for row in self.rows) / len(self.rows)

    @property
    def command_line(self) -> str:
        """The kernel's parameter for it."""
        return f"swiotlb={self.nslabs},{self.nareas}"


def _told(put_together: Callable[[Iterable[int]], int], numbers: Sequence[int | None]) -> int | None:
    """None where one of them is not known."""
    known = [number for number in numbers if number is not None]
    return put_together(known) if len(known) == len(numbers) else None


@dataclass(frozen=True)
class Fleet:
    """Recordings of one machine or of many, one at least."""

    members: tuple[Sized, ...]

    @property
    def sizes(self) -> tuple[Merged, ...]:
        """From 1 MiB to 4 GiB."""
        return tuple(Merged(rows) for rows in zip(*(member.rows for member in self.members), strict=True))

    @property
    def recommended(self) -> Merged | None:
        """The smallest that serves all."""
        return next((size for size in self.sizes if size.roomy_percent == 100), None)

    @property
    def of_99_percent(self) -> Merged | None:
        """The smallest that serves 99 of 100."""
        return next((size for size in self.sizes if size.roomy_percent >= 99), None)

    @property
    def worst(self) -> Sized:
        """The recording that needs most."""
        none = len(self.sizes)

        def needs(member: Sized) -> tuple[int, int]:
            row = member.recommended
            return (member.rows.index(row) if row else none), member.ceiling.peak_slots

        return max(self.members, key=needs)

    @property
    def certain(self) -> bool:
        """Whether the recommended size cannot fail, for all that was recorded and nothing was held back."""
        row = self.recommended
        return row is not None and row.how is How.BOUND and not self.at_least

    @property
    def at_least(self) -> bool:
        """Whether more may be needed than was recorded."""
        return any(member.at_least for member in self.members)
