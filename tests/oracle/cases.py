"""Which kernels are compared, and in which modes."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from tests.oracle.compiled import Compiled, compile_source
from tests.oracle.operations import Mode
from tests.oracle.sources import DEBIAN_6_1, DEBIAN_6_12, DEBIAN_7_3, Source


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel in a mode."""

    source: Source
    mode: Mode

    @property
    def name(self) -> str:
        return f"{self.source.name}-{self.mode.name}"

    def kernel(self) -> Compiled:
        """See :func:`~tests.oracle.compiled.compile_source`."""
        return compile_source(self.source, dynamic=self.mode.dynamic)


CASES = (
    Case(DEBIAN_6_1, Mode()),
    Case(DEBIAN_6_1, Mode(restricted=True)),
    Case(DEBIAN_6_12, Mode()),
    Case(DEBIAN_6_12, Mode(dynamic=True)),
    Case(DEBIAN_6_12, Mode(dynamic=True, restricted=True)),
    Case(DEBIAN_7_3, Mode(may_track_hiwater=True)),
    Case(DEBIAN_7_3, Mode(dynamic=True, may_track_hiwater=True)),
    Case(DEBIAN_7_3, Mode(dynamic=True, restricted=True, may_track_hiwater=True)),
)
REVISION_OF = MappingProxyType({"6.1": "6.1", "6.12": "6.10", "7.3": "7.3"})
"""Of the allocator's revisions, the one that each source is known to have."""


def cases_of(source: Source) -> list[Case]:
    """The modes of one kernel."""
    return [case for case in CASES if case.source is source]


def case_named(name: str) -> Case:
    """As `Case.name` has it."""
    return next(case for case in CASES if case.name == name)
