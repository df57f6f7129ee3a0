"""Which function each hook is attached to on this kernel: decided from kallsyms and BTF, before anything is loaded.

A hook is an event of the allocator; a candidate is a way to see it. The first candidate that this kernel allows is
taken: fentry and fexit first (they see arguments and result of the same call), then kprobes. A hook that neither can
see is derived from another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from swiotlb_top.errors import CannotError
from swiotlb_top.kernel.hooks import HOOKS, LONG_FENTRY, SYNCS, Hook, Prototype
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.state import HookPlace, How

_IN_REGISTERS: Final = 6
"""How many parameters the fentry trampolines of every kernel pass on, and every kprobe can read."""
_NOTHING: Final[Mapping[tuple[str, How], str]] = MappingProxyType({})
_COUNTING: Final = ("find_slots", "map", "unmap")
# trace_call_bpf() does not run a kprobe's program while another one runs on the same CPU.
_LOSSY: Final = "by kprobes, of which the kernel skips some in interrupts; those are counted as lost events"
_NECESSARY: Final = (("find_slots", "map"), ("unmap",))
_OTHERWISE: Final = "inlined, of another shape, or without tracing that tells what it misses"
_NO_WAY: Final = (
    "fentry needs the kernel's own BTF, and kprobes are used only where the kernel counts the calls that kprobes miss "
    "(since 6.7)"
)
_PROBES: Final = (How.FENTRY, How.KPROBE)
"""Best first."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A hook and where it goes on this kernel."""

    hook: Hook
    how: How
    symbol: str = ""
    prototype: Prototype | None = None
    refusal: str = ""
    """Why the kernel refused a better way."""

    @property
    def remembers_entry(self) -> bool:
        """Whether its entry is probed only to know when the call began."""
        return not self.hook.entry_only and not self.hook.result_only

    @property
    def has_spare(self) -> bool:
        """Whether a second program can record the calls for which the kernel skips the exit program."""
        return self.how is How.FENTRY and self.remembers_entry

    @property
    def loses(self) -> str:
        """What is not seen because the hook is where it is; empty where nothing is lost."""
        if self.how is How.ABSENT:
            return self.hook.without
        return _LOSSY if self.how is How.KPROBE and self.hook.name in _COUNTING else ""

    def defines(self) -> dict[str, str]:
        """Macros for the C: the symbol, how it is probed, and the position of each argument that is read (-1: none)."""
        if self.prototype is None:
            return {}
        name, places = self.hook.name.upper(), self.prototype.places()
        defined = {self.hook.macro: self.symbol, f"{self.hook.macro}_{self.how.name}": "1"}
        defined |= {f"{name}_{word}": str(places.get(word, -1)) for word in self.hook.reads}
        if "attrs" in self.prototype.pointers():
            defined[f"{name}_attrs_POINTER"] = "1"
        if self.how is How.FENTRY and not self.hook.entry_only:
            defined[f"{name}_RESULT"] = str(len(self.prototype.parameters))
        return defined

    def place(self) -> HookPlace:
        """Where the hook is, for a recording's header and for people."""
        place = HookPlace(self.hook.name, self.how, refusal=self.refusal)
        if self.how in _PROBES:
            return replace(place, probes=self._probes(), symbol=self.symbol)
        if self.how is How.DERIVED:
            return replace(place, derived_from=self.hook.derived_from)
        return replace(place, lost=self.hook.without)

    def __str__(self) -> str:
        return str(self.place())

    def _probes(self) -> str:
        if self.how is How.FENTRY:
            return "fentry" if self.hook.entry_only else "fentry+fexit"
        return "kprobe" if self.hook.entry_only else "kretprobe" if self.hook.result_only else "kprobe+kretprobe"


@dataclass(frozen=True, slots=True)
class Plan:
    """Every hook's place on one kernel."""

    attachments: tuple[Attachment, ...]
    dynamic: bool
    syncs: tuple[Attachment, ...] = ()
    """Where a device shows that a mapping is its own; probed only while a mapping's device is not known."""

    def probed(self) -> Iterator[Attachment]:
        """The hooks that get a program of their own."""
        return (a for a in self.attachments if a.how in _PROBES)

    def how(self, name: str) -> How:
        return next(a.how for a in self.attachments if a.hook.name == name)

    def places(self) -> tuple[HookPlace, ...]:
        """Where each hook went."""
        return tuple(attached.place() for attached in self.attachments)

    def lost(self) -> dict[str, str]:
        """What is not seen, by the name of the hook that is absent, or that is probed in a way that misses calls."""
        losses = ((attached.hook.name, attached.loses) for attached in self.attachments)
        return {name: lost for name, lost in losses if lost}

    def notes(self) -> tuple[str, ...]:
        """A line for each hook that loses something."""
        return tuple(f"{name}: {said}" for name, said in self.lost().items())

    def defines(self) -> dict[str, str]:
        """What bpf/attach.h is compiled with."""
        defined: dict[str, str] = {"DYNAMIC": "1"} if self.dynamic else {}
        for attached in (*self.probed(), *self.syncs):
            defined |= attached.defines()
        by_kprobe = [attached for attached in (*self.probed(), *self.syncs) if attached.how is How.KPROBE]
        if by_kprobe:
            read = [len(a.prototype.parameters) for a in by_kprobe if a.prototype and a.hook.reads]
            defined |= {"ANY_KPROBE": "1", "ARGUMENTS": str(max([_IN_REGISTERS, *read]))}
        return defined


def make(
    layout: Layout,
    *,
    kprobes: bool,
    refused: Mapping[tuple[str, How], str] = _NOTHING,
    prefer: How = How.FENTRY,
    direct_only: bool = True,
) -> Plan:
    """Plan for this kernel.

    :param kprobes: whether the kernel has kprobes, and counts the calls that they miss.
    :param refused: what the kernel refused when it was tried: (name of the hook, how) -> why.
    :param prefer: :attr:`How.KPROBE` to try kprobes before fentry, which lets one check the other.
    :param direct_only: whether every mapping comes through ``swiotlb_map()``; an IOMMU or Xen maps without it.
    :raises CannotError: a necessary hook has no candidate; the message names its function.
    """

    def best(hook: Hook) -> Attachment | None:
        candidates = (
            found
            for how in sorted(_PROBES, key=lambda how: how is not prefer)
            if (hook.name, how) not in refused
            for found in _candidates(hook, how, layout, kprobes=kprobes, direct_only=direct_only)
        )
        return next(candidates, None)

    placed: dict[str, Attachment] = {}
    hooks = [hook for hook in HOOKS if layout.dynamic or not hook.dynamic_only]
    for hook in hooks:
        found = best(hook)
        if found:
            placed[hook.name] = replace(found, refusal=_refusal(hook.name, refused))
    _need(placed, refused, _OTHERWISE if kprobes or layout.btf.of_kernel else _NO_WAY)
    _one_eye_on_mappings(placed)
    for hook in hooks:
        if hook.beside and hook.beside not in placed:
            placed.pop(hook.name, None)
    hooks = [hook for hook in hooks if not hook.beside or hook.name in placed]
    attachments = tuple(_or_derived(hook, placed, _refusal(hook.name, refused)) for hook in hooks)
    return Plan(attachments, layout.dynamic, tuple(filter(None, map(best, SYNCS))))


def _refusal(hook: str, refused: Mapping[tuple[str, How], str]) -> str:
    return "; ".join(f"{how.value}: {why}" for (name, how), why in refused.items() if name == hook)


def _candidates(hook: Hook, how: How, layout: Layout, *, kprobes: bool, direct_only: bool) -> Iterator[Attachment]:
    """Where a hook can be probed in one way, best first."""
    if how is How.KPROBE and not kprobes:
        return
    for prototype in hook.prototypes:
        if prototype.stands_in_before and (not direct_only or prototype.stands_in_before in layout.features):
            continue
        symbol = _fentry(prototype, layout) if how is How.FENTRY else _kprobe(hook, prototype, layout)
        if symbol:
            yield Attachment(hook, how, symbol, prototype)


def _fentry(prototype: Prototype, layout: Layout) -> str | None:
    found = layout.btf.of_kernel and layout.symbols.exact(prototype.symbol)
    same = layout.btf.functions.get(prototype.symbol) == prototype.parameters
    reached = len(prototype.parameters) <= _IN_REGISTERS or LONG_FENTRY in layout.features
    return prototype.symbol if found and same and reached else None


def _kprobe(hook: Hook, prototype: Prototype, layout: Layout) -> str | None:
    if layout.symbols.exact(prototype.symbol):
        known = layout.btf.functions.get(prototype.symbol)
        return prototype.symbol if known is None or known == prototype.parameters else None
    # A clone's arguments are not where the prototype says; its result is.
    return layout.symbols.suffixed(prototype.symbol) if hook.result_only else None


def _need(placed: Mapping[str, Attachment], refused: Mapping[tuple[str, How], str], otherwise: str) -> None:
    by_name = {hook.name: hook for hook in HOOKS}
    for alternatives in _NECESSARY:
        if not any(name in placed for name in alternatives):
            names = " or ".join(by_name[name].symbols[0] for name in alternatives)
            tried = [f"{how.value}: {why}" for (hook, how), why in refused.items() if hook in alternatives]
            reason = "; ".join(tried) or otherwise
            raise CannotError(f"this kernel lets nothing attach to {names} ({reason}): mappings cannot be watched")


def _one_eye_on_mappings(placed: dict[str, Attachment]) -> None:
    """Drop map if find_slots is placed as well as it: find_slots tells the same, and is closer to the search itself."""
    if "find_slots" in placed and "map" in placed:
        better = _PROBES.index(placed["map"].how) < _PROBES.index(placed["find_slots"].how)
        del placed["find_slots" if better else "map"]


def _or_derived(hook: Hook, placed: Mapping[str, Attachment], refusal: str) -> Attachment:
    if hook.name in placed:
        return placed[hook.name]
    return Attachment(hook, How.DERIVED if hook.derived_from in placed else How.ABSENT, refusal=refusal)
