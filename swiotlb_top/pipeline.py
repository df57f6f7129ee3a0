"""From a stream to what is shown: the account and the judge, side by side.

The live source and a replay feed the same pipeline, so that both show the same of the same calls. Only the pipeline
feeds the judge and the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from swiotlb_top.accounting.account import Account
from swiotlb_top.accounting.assemble import Origin, assemble
from swiotlb_top.accounting.devices import Devices
from swiotlb_top.accounting.slots import slots_views
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.accounting.watcher import Watcher
from swiotlb_top.allocator import REVISIONS, Choice, choose, named
from swiotlb_top.allocator.machines import check_machine
from swiotlb_top.errors import CannotError
from swiotlb_top.events import Event, Gap
from swiotlb_top.kernel.around import of_recording
from swiotlb_top.kernel.hooks import ALLOC_POOL
from swiotlb_top.state import DeviceName, KernelInfo, MemState
from swiotlb_top.stream import Consumer, End, ended_ns
from swiotlb_top.verify import NEVER_NS, Findings, SideBySide

__all__ = ["Account", "Pipeline", "Uncounted", "account_of"]


class Pipeline(Consumer):
    """The account and the judge of one stream. Both receive each item as it comes; the judge works when it is asked to.

    :param revision: name of the revision to judge by. None: the kernel's own; if it may have one of several, each is
        compared until one is left.
    :param devices: what is known of the devices; None: nothing yet.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for this kernel, or the reference does not model this machine.
    """

    def __init__(self, kernel: KernelInfo, revision: str | None = None, devices: Devices | None = None) -> None:
        self.kernel = kernel
        self.begin_ns = 0
        """When the first state was read, or the first call was over if that came before; 0 before that."""
        self.last_ns = 0
        """When the latest call was over, or the latest loss was noticed."""
        self.ended: End | None = None
        """What the stream's end says; None where it was cut short, or goes on."""
        choice = choice_for(kernel, revision)
        # What an account needs of the revision shows in every kernel: the candidates differ in none of it.
        around = of_recording(kernel.machine, kernel.features)
        self.account = Account(choice.revision, Devices(look=lambda _: around) if devices is None else devices)
        self.judge = SideBySide(choice, pools_announced=kernel.sees(ALLOC_POOL), cpus=kernel.cpus.numbers())
        self._books: Consumer = self.account
        """Who is told besides the judge. The account of a recording that plays is told later; of bursts nothing is
        added up, and only what is known of devices grows."""

    # ---- the stream ----------------------------------------------------

    def state(self, mem: MemState) -> None:
        """The allocator's state, at the beginning or read again."""
        self.begin_ns = self.begin_ns or mem.begin_ns
        self.judge.state(mem)
        self._books.state(mem)

    def feed(self, events: Sequence[Event]) -> None:
        """The next events, in the order they were recorded."""
        if events:
            exits_ns = ended_ns(events)
            self.begin_ns = self.begin_ns or exits_ns[0]
            self.last_ns = max(self.last_ns, max(exits_ns))
        self.judge.feed(events)
        self._books.feed(events)

    def gap(self, gap: Gap) -> None:
        """Events were lost."""
        self.last_ns = max(self.last_ns, gap.exit_ns)
        self.judge.gap(gap)
        self._books.gap(gap)

    def name(self, name: DeviceName) -> None:
        """Who a device address is."""
        self._books.name(name)

    def known_before(self, time_ns: int) -> None:
        """Every call that was entered before a moment has returned, and was fed."""
        self.judge.known_before(time_ns)

    def end(self, end: End) -> None:
        """The stream is over."""
        self.ended = end

    @property
    def length_ns(self) -> int:
        """From the beginning to the latest event, and on to when recording stopped, if that is told.

        Reports and the screen both say so, and positions are counted in it.
        """
        return max(0, self.last_ns - self.begin_ns, self.ended.duration_ns if self.ended else 0)

    # ---- judging -------------------------------------------------------

    def keep_up(self) -> None:
        """Judge what can be judged, as soon as enough operations are waiting."""
        self.judge.keep_up()
        self._take_failures()

    def advance(self, now_ns: int) -> None:
        """Judge the operations that none can overlap any more that comes after ``now_ns`` of the stream."""
        self.judge.advance(now_ns)
        self._take_failures()

    def finish(self, until_ns: int = NEVER_NS, *, whole: bool = True) -> Findings:
        """Judge what is waiting: all of it, or what was over by ``until_ns``, dropping the rest.

        :param whole: whether no call was under way when the stream ended, but for what :meth:`known_before` told.
        """
        findings = self.judge.finish(until_ns, whole=whole)
        self._take_failures()
        return findings

    def snapshot(self, time_ns: int, source: str, reason: str) -> Snapshot:
        """A snapshot at ``time_ns``, from the events alone."""
        world = self.judge.model
        listed = [pool for pool in world.pools if not pool.transient] if world else []
        slots = dict(zip((pool.address for pool in listed), slots_views(listed), strict=True))
        origin = Origin(source, reason, self.kernel.release, self.kernel.hooks)
        return assemble(time_ns, origin, self.account.totals(), self.account.devices, slots, self.judge)

    def counts(self, time_ns: int) -> Snapshot:
        """What was counted until ``time_ns``, for rates and charts: a snapshot that has no pools and no verdict."""
        totals = replace(self.account.totals(), pools=())
        return assemble(time_ns, Origin("", "", self.kernel.release), totals, self.account.devices, {}, None)

    def _take_failures(self) -> None:
        for failure in self.judge.take_failures():
            self.account.failed(failure.dev, failure.explanation, failure.event)


class Uncounted(Pipeline):
    """A pipeline whose account counts nothing, because others count: it judges, and learns of the devices."""

    def __init__(self, kernel: KernelInfo, revision: str | None = None, devices: Devices | None = None) -> None:
        super().__init__(kernel, revision, devices)
        self._books = self.account.devices


def account_of(kernel: KernelInfo, revision: str | None, watcher: Watcher) -> Account:
    """The account of a stream that nobody judges.

    :param watcher: is told each mapping.
    :raises UsageError: there is no such revision.
    :raises CannotError: no revision is known for this kernel, or none would be true of this machine.
    """
    return Account(choice_for(kernel, revision).revision, watcher=watcher)


def choice_for(kernel: KernelInfo, name: str | None = None) -> Choice:
    """The revision of this name (see :func:`~swiotlb_top.allocator.named`), or all that a kernel may have.

    :raises UsageError: there is no such revision, or there are several.
    :raises CannotError: no revision is known for this kernel, or none would be true of this machine.
    """
    check_machine(kernel.machine, kernel.page_size_bytes, kernel.byte_order)
    if name is not None:
        return Choice.of(named(name))
    try:
        return choose(kernel.features, kernel.release, kernel.version)
    except CannotError as error:
        raise CannotError(f"{error}; swiotlb-top replay --revision takes one of: {', '.join(REVISIONS)}") from None
