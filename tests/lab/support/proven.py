"""What is claimed of a size that was put to the proof, and the line of the table that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from swiotlb_top.errors import Exit
from tests.lab.support.proof import Proof

CLAIMS: Final[Mapping[str, Callable[[Proof], bool]]] = MappingProxyType(
    {
        "where it is recorded first it falls short": lambda proof: proof.rounds[0].falls_short,
        "nothing is missing in any recording, and the reference agrees": lambda proof: all(
            boot.is_whole for boot in proof.boots
        ),
        "an answer is certain with status 0, and with no other": lambda proof: all(
            (boot.answer.status == Exit.OK) == boot.answer.told["certain"] for boot in proof.boots
        ),
        "the last answer is no least": lambda proof: not proof.answer.told["at_least"],
        "at the recommended size no map fails and no pool is added": lambda proof: not proof.rebooted.falls_short,
        "there, all that was to be read is read": lambda proof: proof.rebooted.ended,
        "there, the kernel's log does not say that swiotlb is full": lambda proof: not proof.rebooted.full_lines,
        "at the next smaller that is called too small it falls short": lambda proof: proof.smaller.falls_short,
        "the predicted high water is the kernel's own, but for 5 percent": lambda proof: proof.is_close,
        "the truth lies between the bounds": lambda proof: proof.is_bracketed,
    }
)

COLUMNS: Final = (
    "workload",
    "kernel",
    "recorded at",
    "failures",
    "recommended",
    "how sure",
    "failures there",
    "next smaller called too small",
    "failures in it",
    "predicted high water",
    "the kernel's own",
)


def row(proof: Proof) -> tuple[str, ...]:
    """Of COLUMNS. Behind where it was recorded first is where the answers sent to that were a least."""
    first, *later = proof.rounds
    again = "".join(f", then {boot.nslabs}: {boot.failures}" for boot in later)
    own = proof.rebooted.high_water_slots
    return (
        proof.workload.name,
        proof.workload.machine.kernel,
        str(first.nslabs),
        f"{first.failures}{again}",
        str(proof.rebooted.nslabs),
        proof.answer.how_sure,
        proof.rebooted.failures,
        str(proof.smaller.nslabs),
        proof.smaller.failures,
        str(proof.predicted_slots),
        "not kept" if own is None else str(own),
    )
