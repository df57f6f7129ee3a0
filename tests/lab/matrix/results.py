"""What came of the rows, as it is kept in the repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.lab.matrix.rows import Row

KEPT: Final = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tool did on one kernel. If `cannot` says why it was not tried, all else is empty."""

    release: str = ""
    machine: str = ""
    dynamic: bool = False
    restricted: bool = False
    """Whether the kernel is built with CONFIG_DMA_RESTRICTED_POOL."""
    attach: str = ""
    """How it was attached."""
    revision: str = ""
    """What the doctor says of it: which, why, and how sure that is."""
    kernel_check: str = ""
    """What it says of the kernel."""
    events: int = 0
    lost: int = 0
    operations: int = 0
    compared: int = 0
    disagree: int = 0
    inconclusive: int = 0
    unsafe: int = 0
    miscounts: int = 0
    pools_added: int = 0
    transient_pools: int = 0
    judged_by: str = ""
    """The revision that was left at the end."""
    verdict: str = ""
    doctor_status: int = -1
    screen: str = ""
    """The source of the last frame, and its level."""
    screen_disagree: int = -1
    exporter_up: bool = False
    cannot: str = ""

    def faults(self, row: Row) -> list[str]:
        """What is not as it must be; empty if the row is green."""
        if row.refusal:
            return [] if row.refusal in self.cannot else [self.cannot or "it can be booted"]
        if self.cannot:
            return [self.cannot]
        sound = row.verdict == "agree"
        wrong = {
            f"the verdict is {self.verdict}, not {row.verdict}": self.verdict != row.verdict,
            f"the doctor ended with {self.doctor_status}": self.doctor_status != 0,
            f"{self.lost} events are lost": self.lost != 0,
            "nothing was recorded": self.events == 0,
            "not every operation was compared": sound and (self.inconclusive > 0 or self.compared != self.operations),
            f"{self.disagree} disagree": self.disagree != 0 and row.verdict != "disagree",
            f"{self.unsafe} are unsafe": sound and self.unsafe > 0,
            f"{self.miscounts} counters are wrong": sound and self.miscounts > 0,
            f"the screen shows {self.screen or 'nothing'}": not self.screen.startswith("live"),
            f"the screen has {self.screen_disagree} disagreements": sound and self.screen_disagree != 0,
            "the exporter is not up": not self.exporter_up,
            f"it is {'' if self.dynamic else 'not '}dynamic": self.dynamic != row.is_dynamic,
            "no pool was added": self.dynamic and self.pools_added + self.transient_pools == 0,
        }
        return [what for what, is_so in wrong.items() if is_so]


def load(path: Path = KEPT) -> dict[str, Outcome]:
    """By the kernel's name."""
    if not path.exists():
        return {}
    return {kernel: Outcome(**outcome) for kernel, outcome in json.loads(path.read_text()).items()}


def keep(outcomes: Mapping[str, Outcome], path: Path = KEPT) -> None:
    """Write them."""
    told = {kernel: asdict(outcome) for kernel, outcome in sorted(outcomes.items())}
    path.write_text(json.dumps(told, indent=1) + "\n")
