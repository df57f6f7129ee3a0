"""From a stream to what is shown: accounting and verification side by side.

Live and replay feed the same pipeline, so a replay cannot disagree with what was seen live.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from swiotlb_top.accounting.account import Account
from swiotlb_top.accounting.snapshot import UNKNOWN, Snapshot, VerdictView
from swiotlb_top.allocator import REVISIONS, Revision, choose
from swiotlb_top.allocator.machines import check_machine
from swiotlb_top.errors import CannotError, UsageError
from swiotlb_top.events import Event, Gap
from swiotlb_top.kernel.hooks import ALLOC_POOL
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.verify import Divergence, Findings, Judge

_OWN_HIWATER: Final = "the kernel kept no high water: shown is the highest since the recording began"


class Pipeline:
    """One stream's account and judge.

    :param revision: name of the revision to judge by, or None for the kernel's own.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for this kernel, or none would be true of this machine.
    """

    def __init__(self, kernel: KernelInfo, revision: str | None = None) -> None:
        self.kernel = kernel
        self.begin_ns = 0
        """When the first state was read; 0 before that."""
        self.last_ns = 0
        """When the latest call was over."""
        of_kernel = _revision(kernel, revision)
        self.account = Account(of_kernel)
        self.judge = Judge(of_kernel, pools_announced=kernel.sees(ALLOC_POOL), cpus=kernel.cpus.numbers())

    def state(self, mem: MemState) -> None:
        """The allocator's state, at the beginning or read again."""
        if not self.begin_ns:
            self.begin_ns = min((pool.begin_ns for pool in mem.pools), default=0)
        self.judge.state(mem)
        self.account.state(mem)

    def feed(self, events: Sequence[Event]) -> None:
        """The next events, in the order they were recorded."""
        self.last_ns = max(self.last_ns, max((event.exit_ns for event in events), default=0))
        self.account.feed(events)
        self.judge.feed(events)
        self.judge.keep_up()
        self._take_failures()

    def gap(self, gap: Gap) -> None:
        """Events were lost."""
        self.account.gap(gap)
        self.judge.gap(gap)

    def known_before(self, time_ns: int) -> None:
        """Every call that was entered before a moment has returned, and was fed."""
        self.judge.known_before(time_ns)

    def name(self, name: DeviceName) -> None:
        """Who a device address is."""
        self.account.name(name)

    def advance(self, now_ns: int) -> None:
        """Judge, at ``now_ns`` of the stream, what nothing still to come can overlap."""
        self.judge.advance(now_ns)
        self._take_failures()

    def finish(self, *, whole: bool = True) -> Findings:
        """Judge what is waiting.

        :param whole: whether no call was under way when the stream ended, but for what :meth:`known_before` told.
        """
        findings = self.judge.finish(whole=whole)
        self._take_failures()
        return findings

    def snapshot(self, time_ns: int, source: str, reason: str) -> Snapshot:
        """What there is to show now."""
        account, world, first = self.account, self.judge.model, self.judge.findings.first
        reference = {pool.address: pool for pool in world.pools} if world else {}
        listed = [pool.view(reference.get(pool.address)) for pool in reversed(account.pools.values())]
        return Snapshot(
            time_ns=time_ns,
            source=source,
            reason=reason,
            kernel_release=self.kernel.release,
            nslabs=account.nslabs,
            # A recording may tell of more releases than there were mappings.
            used_slots=account.used_slots if account.used_slots >= 0 else UNKNOWN,
            used_hiwater_slots=account.used_hiwater_slots,
            transient_slots=account.transient_slots,
            maps=account.maps,
            map_failures=account.map_failures,
            unmaps=account.unmaps,
            growths=account.growths,
            pools_added=account.pools_added,
            lost=account.lost,
            pools=(*listed, *(pool.view() for pool in account.transient)),
            devices=tuple(device.view() for device in account.devices.values()),
            verdict=verdict_view(self.judge.revision.name, self.judge.findings),
            failures=account.failures(disputed=first.event if first else None),
            hooks=self.kernel.hooks,
            notes=(_OWN_HIWATER,) if account.hiwater_is_its_own else (),
        )

    def _take_failures(self) -> None:
        for failure in self.judge.findings.take_failures():
            self.account.failed(failure.dev, failure.explanation, failure.event)


def verdict_view(revision: str, findings: Findings) -> VerdictView:
    """The judge's findings as views show them."""
    return VerdictView(
        revision=revision,
        compared=findings.compared,
        agree=findings.agree,
        disagree=findings.disagree,
        inconclusive=findings.inconclusive,
        safety_violations=findings.safety_violations,
        first_disagreement=_in_a_line(findings.first) if findings.first else "",
    )


def _in_a_line(divergence: Divergence) -> str:
    harm = (
        f" ({', '.join(violation.hazard.value for violation in divergence.violations)})"
        if divergence.violations
        else ""
    )
    return f"operation {divergence.operation}: {divergence.observed}; expected {divergence.expected}{harm}"


def _revision(kernel: KernelInfo, name: str | None) -> Revision:
    check_machine(kernel.machine, kernel.page_size_bytes, kernel.byte_order)
    if name is not None:
        if name not in REVISIONS:
            raise UsageError(f"there is no revision {name!r}; known are: {', '.join(REVISIONS)}")
        return REVISIONS[name]
    try:
        return choose(kernel.features, kernel.release).revision
    except CannotError as error:
        raise CannotError(f"{error}; swiotlb-top replay --revision takes one of: {', '.join(REVISIONS)}") from None
