"""What makes the flight recorder write a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from swiotlb_top.errors import UsageError

_SECOND_NS: Final = 1_000_000_000
ASKED: Final = "asked"
"""The reason if somebody asked for a file."""
DISAGREEMENT: Final = "disagreement"
"""The kind that needs a judge."""


class Sight(NamedTuple):
    """What one look at the kernel showed."""

    time_ns: int
    failures: int
    """How many maps failed since the previous look."""
    used_slots: int
    """Slots in use; -1 if it was not looked at."""
    all_slots: int
    """Slots of all pools; -1 if it was not looked at."""
    disagreements: int = 0
    """How many disagreements have become known since the previous look; 0 if nobody judges."""


class _Condition(Protocol):
    """Takes every look in order, and says whether the trigger is true now."""

    def __call__(self, sight: Sight) -> bool: ...


def _a_map_fails(_: float) -> _Condition:
    return lambda sight: sight.failures > 0


def _many_fail(most: float) -> _Condition:
    """More than ``most`` maps have failed in the latest second."""
    looks: deque[Sight] = deque()

    def is_true(sight: Sight) -> bool:
        looks.append(sight)
        while looks[0].time_ns <= sight.time_ns - _SECOND_NS:
            looks.popleft()
        return sum(look.failures for look in looks) > most

    return is_true


def _much_is_used(percent: float) -> _Condition:
    return lambda sight: sight.all_slots > 0 and sight.used_slots * 100 > percent * sight.all_slots


def _the_reference_disagrees(_: float) -> _Condition:
    return lambda sight: sight.disagreements > 0


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of trigger."""

    condition: Callable[[float], _Condition]
    help: str
    unit: str = ""
    """What the number after the name is called in the help; empty if it takes no number."""
    most: float = 0.0


KINDS: Final = {
    "failure": _Kind(_a_map_fails, "a map fails"),
    "failures": _Kind(_many_fail, "more maps than this fail in a second", "N", 1e9),
    "use": _Kind(_much_is_used, "more than this share of all slots is in use, looked at once a second", "PERCENT", 100),
    DISAGREEMENT: _Kind(_the_reference_disagrees, "the kernel does what the reference does not, known seconds later"),
}
"""The kinds by name. Names are used on the command line and in file names."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One of :data:`KINDS`, and its number."""

    kind: str
    number: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Trigger:
        """A trigger as it is written: NAME or NAME=NUMBER. :raises UsageError: there is none of that name."""
        name, equals, number = text.partition("=")
        kind = KINDS.get(name)
        if kind is None or bool(equals) != bool(kind.unit):
            forms = ", ".join(form(name) for name in KINDS)
            raise UsageError(f"{text!r} is no trigger; there are: {forms}")
        if not kind.unit:
            return cls(name)
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value < kind.most:
            raise UsageError(f"{text!r} is no trigger: {kind.unit} is a number from 0 to below {kind.most:,.0f}")
        return cls(name, value)


def form(name: str) -> str:
    """How a trigger is written: ``use=PERCENT``."""
    unit = KINDS[name].unit
    return f"{name}={unit}" if unit else name


class Alarm:
    """Says when a file is to be written: once an episode, which is over when no trigger was true for some time.

    :param rearm_ns: for how long.
    """

    def __init__(self, triggers: Collection[Trigger], rearm_ns: int) -> None:
        self._conditions = [(one.kind, KINDS[one.kind].condition(one.number)) for one in triggers]
        self._rearm_ns = rearm_ns
        self._true_ns: int | None = None
        """When a trigger was true last."""
        self.watches_use = any(one.kind == "use" for one in triggers)
        """Whether it wants to be shown how many slots are in use."""
        self.needs_judge = any(one.kind == DISAGREEMENT for one in triggers)
        """Whether it wants to be shown how many disagreements there are."""

    def reason(self, sight: Sight) -> str:
        """The kind of the trigger with which an episode begins now; empty if none does."""
        true = [kind for kind, is_true in self._conditions if is_true(sight)]
        if not true:
            return ""
        before_ns, self._true_ns = self._true_ns, sight.time_ns
        begins = before_ns is None or sight.time_ns - before_ns >= self._rearm_ns
        return true[0] if begins else ""
