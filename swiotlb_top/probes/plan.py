"""Which hook goes where on this kernel: decided from kallsyms and BTF, before anything is loaded.

A hook is an event of the allocator's; a candidate is a way to see it.  The first candidate that
this kernel allows is taken.  fentry/fexit comes first (it sees arguments and result, and cannot
lose a pairing), kprobes next, and what neither can see is derived from another hook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.layout import Layout


class How(Enum):
    """How a hook is probed."""

    FENTRY = "fentry"
    KPROBE = "kprobe"
    DERIVED = "derived"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Hook:
    """A logical hook. ``parameters`` are those the BPF program reads by position."""

    name: str
    symbol: str
    parameters: tuple[str, ...]
    dynamic_only: bool = False
    result_only: bool = False
    """Only the return value is read, so that a clone (``.isra.0``) serves as well."""
    entry_only: bool = False
    derived_from: str = ""
    """How its facts are had where it cannot be probed; empty: they are lost."""
    without: str = ""
    """What is lost where it is absent."""

    @property
    def macro(self) -> str:
        return f"HOOK_{self.name.upper()}"


HOOKS: Final = (
    Hook(
        "find_slots",
        "swiotlb_find_slots",
        ("dev", "orig_addr", "alloc_size", "alloc_align_mask", "retpool"),
        derived_from="map",
    ),
    Hook(
        "map",
        "swiotlb_tbl_map_single",
        ("dev", "orig_addr", "mapping_size", "alloc_align_mask", "dir", "attrs"),
        derived_from="find_slots",
    ),
    Hook(
        "unmap",
        "__swiotlb_tbl_unmap_single",
        ("dev", "tlb_addr", "mapping_size", "dir", "attrs", "pool"),
    ),
    Hook("grow", "swiotlb_dyn_alloc", ("work",), dynamic_only=True, without="growth is not seen"),
    Hook(
        "alloc_pool",
        "swiotlb_alloc_pool",
        ("dev", "minslabs", "nslabs", "nareas", "phys_limit", "gfp"),
        dynamic_only=True,
        result_only=True,
        without="transient pools are not seen before their first mapping",
    ),
    Hook("add_pool", "add_mem_pool", ("mem", "pool"), dynamic_only=True, derived_from="grow"),
    Hook(
        "free_pool",
        "swiotlb_dyn_free",
        ("rcu",),
        dynamic_only=True,
        entry_only=True,
        without="when a transient pool's memory goes back is not seen",
    ),
    Hook(
        "device_init",
        "swiotlb_dev_init",
        ("dev",),
        entry_only=True,
        without="a device plugged in where another was may inherit its totals",
    ),
)
_NOTHING: Final[Mapping[tuple[str, How], str]] = MappingProxyType({})
_COUNTING: Final = ("find_slots", "map", "unmap")
# trace_call_bpf() runs no program where one of a kprobe runs already on this CPU.
_LOSSY: Final = "by kprobes, of which the kernel skips some in interrupts; those are counted as lost events"
_NECESSARY: Final = (("find_slots", "map"), ("unmap",))


@dataclass(frozen=True, slots=True)
class Attachment:
    """A hook and where it goes on this kernel."""

    hook: Hook
    how: How
    symbol: str = ""
    refusal: str = ""
    """Why the kernel turned a better way down."""

    @property
    def remembers_entry(self) -> bool:
        """Whether its entry is probed only to know when the call began."""
        return not self.hook.entry_only and not self.hook.result_only

    def __str__(self) -> str:
        return f"{self._place()} (refused: {self.refusal})" if self.refusal else self._place()

    def _place(self) -> str:
        if self.how is How.FENTRY:
            return f"{'fentry' if self.hook.entry_only else 'fentry+fexit'} {self.symbol}"
        if self.how is How.KPROBE:
            kind = "kprobe" if self.hook.entry_only else "kretprobe" if self.hook.result_only else "kprobe+kretprobe"
            return f"{kind} {self.symbol}"
        if self.how is How.DERIVED:
            return f"derived from {self.hook.derived_from}"
        return f"absent: {self.hook.without or 'needed'}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Every hook's place on one kernel."""

    attachments: tuple[Attachment, ...]
    dynamic: bool

    def probed(self) -> Iterator[Attachment]:
        """The hooks that get a program of their own."""
        return (a for a in self.attachments if a.how in (How.FENTRY, How.KPROBE))

    def how(self, name: str) -> How:
        return next(a.how for a in self.attachments if a.hook.name == name)

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Hook name and where it went, for people and for a trace's header."""
        return tuple((a.hook.name, str(a)) for a in self.attachments)

    def notes(self) -> tuple[str, ...]:
        """A line for each hook whose absence, or whose kind of probe, loses something."""
        return tuple(
            f"{a.hook.name}: {_LOSSY if a.how is How.KPROBE else a.hook.without}"
            for a in self.attachments
            if (a.how is How.ABSENT and a.hook.without) or (a.how is How.KPROBE and a.hook.name in _COUNTING)
        )

    def defines(self) -> dict[str, str]:
        """What bpf/attach.h is compiled with."""
        defined: dict[str, str] = {"DYNAMIC": "1"} if self.dynamic else {}
        for attached in self.probed():
            defined[attached.hook.macro] = attached.symbol
            defined[f"{attached.hook.macro}_{attached.how.name}"] = "1"
            if attached.how is How.KPROBE:
                defined["ANY_KPROBE"] = "1"
        return defined


def make(
    layout: Layout, *, kprobes: bool, refused: Mapping[tuple[str, How], str] = _NOTHING, prefer: How = How.FENTRY
) -> Plan:
    """Plan for this kernel.

    :param kprobes: whether CONFIG_KPROBES is there.
    :param refused: what was tried and turned down by the kernel: (hook, how) -> why.
    :param prefer: :attr:`How.KPROBE` to try kprobes before fentry, where one distrusts the other.
    :raises CannotError: a necessary hook has no candidate; names it.
    """
    placed: dict[str, Attachment] = {}
    for hook in HOOKS:
        if hook.dynamic_only and not layout.dynamic:
            continue
        ways = {How.FENTRY: _fentry(hook, layout), How.KPROBE: _kprobe(hook, layout) if kprobes else None}
        order = sorted(ways, key=lambda way: way is not prefer)
        for way in order:
            symbol = ways[way]
            if symbol and (hook.name, way) not in refused:
                placed[hook.name] = Attachment(hook, way, symbol, _refusal(hook.name, refused))
                break
    _need(placed, refused)
    _one_eye_on_mappings(placed)
    hooks = (hook for hook in HOOKS if layout.dynamic or not hook.dynamic_only)
    return Plan(tuple(_or_derived(hook, placed, _refusal(hook.name, refused)) for hook in hooks), layout.dynamic)


def _refusal(hook: str, refused: Mapping[tuple[str, How], str]) -> str:
    return "; ".join(f"{how.value}: {why}" for (name, how), why in refused.items() if name == hook)


def _fentry(hook: Hook, layout: Layout) -> str | None:
    found = layout.symbols.exact(hook.symbol) and layout.btf.functions.get(hook.symbol) == hook.parameters
    return hook.symbol if found else None


def _kprobe(hook: Hook, layout: Layout) -> str | None:
    if layout.symbols.exact(hook.symbol):
        known = layout.btf.functions.get(hook.symbol)
        return hook.symbol if known is None or known == hook.parameters else None
    # A clone's arguments are not where the prototype says; its result is.
    return layout.symbols.suffixed(hook.symbol) if hook.result_only else None


def _need(placed: Mapping[str, Attachment], refused: Mapping[tuple[str, How], str]) -> None:
    by_name = {hook.name: hook for hook in HOOKS}
    for alternatives in _NECESSARY:
        if not any(name in placed for name in alternatives):
            names = " or ".join(by_name[name].symbol for name in alternatives)
            tried = [f"{how.value}: {why}" for (hook, how), why in refused.items() if hook in alternatives]
            reason = "; ".join(tried) or "inlined, of another shape, or without tracing"
            raise CannotError(f"this kernel lets nothing attach to {names} ({reason}): mappings cannot be watched")


def _one_eye_on_mappings(placed: dict[str, Attachment]) -> None:
    """find_slots says all that map says, nearer to the lock: with it, map would only cost."""
    rank = {How.FENTRY: 0, How.KPROBE: 1}
    if "find_slots" in placed and "map" in placed:
        better = rank[placed["map"].how] < rank[placed["find_slots"].how]
        del placed["find_slots" if better else "map"]


def _or_derived(hook: Hook, placed: Mapping[str, Attachment], refusal: str) -> Attachment:
    if hook.name in placed:
        return placed[hook.name]
    return Attachment(hook, How.DERIVED if hook.derived_from in placed else How.ABSENT, refusal=refusal)
