"""A device in a report: by which names it goes, why its mappings bounce, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from swiotlb_top.accounting import reach
from swiotlb_top.accounting.bounces import because, questions
from swiotlb_top.accounting.evidence import Evidence
from swiotlb_top.accounting.snapshot import DeviceView
from swiotlb_top.kernel.around import Present


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """One device."""

    name: str
    driver: str
    known_as: str
    evidence: Evidence

    @classmethod
    def of_view(cls, device: DeviceView) -> Self:
        """Of one that was watched."""
        return cls(device.name, device.driver, device.known_as, device.evidence)

    @classmethod
    def of_present(cls, device: Present, forced: bool | None) -> Self:
        """Of one that is there. :param forced: ``force_bounce`` of the machine's allocator, where it is known."""
        return cls(device.name, device.driver, device.known_as, Evidence(forced=forced, around=device.around))

    @property
    def bounces(self) -> str:
        """Why its mappings bounce, as far as it is known, and what is not."""
        told = [*(reason.sentence for reason in because(self.evidence)), *map(str, questions(self.evidence))]
        return "; ".join(told) or "there is no reason for which its mappings would bounce"

    def line(self) -> str:
        """All in one line, without its name."""
        return f"{self.known_as} ({self.driver}): {self.bounces}"

    def as_json(self) -> dict[str, object]:
        """For machines; null is: not known."""
        limits = self.evidence.limits
        return {
            "name": self.name,
            "driver": self.driver or None,
            "known_as": self.known_as or None,
            "bounces": [
                {"reason": reason.reason.value, "sentence": reason.sentence} for reason in because(self.evidence)
            ],
            "not_known": [str(question) for question in questions(self.evidence)],
            "limits": None if limits is None else reach.as_json(limits),
        }
