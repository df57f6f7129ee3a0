"""What a program was compiled for, beside what it would be compiled for here: the difference, in words for people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from swiotlb_top.kernel.hooks import HOOKS, SYNCS, Hook
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.compile.flags import Macros
from swiotlb_top.state import How

_SWITCHES: Final = {
    # macro: what is said if only the program was compiled with it, and if only this kernel's would be
    "DYNAMIC": (
        "it is for a kernel with CONFIG_SWIOTLB_DYNAMIC, and this one is without",
        "it is for a kernel without CONFIG_SWIOTLB_DYNAMIC, and this one is with it",
    ),
    "PAD_SLOTS": (
        "it reads pad_slots of struct io_tlb_slot, which this kernel does not have",
        "it does not read pad_slots of struct io_tlb_slot, which this kernel has",
    ),
    "OWN_HIWATER": (
        "it keeps how many slots were in use at most, which this kernel does itself",
        "it does not keep how many slots were in use at most, and neither does this kernel",
    ),
}


def named(compiled: Collection[Macros], wanted: Macros, layout: Layout) -> str:
    """How the one of several programs that is the most like the wanted one differs from it: the first difference.

    :param compiled: what they were compiled with.
    :param wanted: what this kernel's program is compiled with; it is not among them.
    :param layout: this kernel's.
    """
    there = min(compiled, key=lambda one: len(one ^ wanted))
    seen = _Seen(dict(there), dict(wanted), layout)
    told = [words for tell in _TELL for words in tell(seen)] or list(_others(seen))
    others = len(told) - 1
    more = f" (and {others} more difference{'s' if others > 1 else ''})" if others else ""
    return f"{told[0]}{more}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """Two programs' macros: ``there`` are those of the one that was compiled."""

    there: Mapping[str, str]
    here: Mapping[str, str]
    layout: Layout

    def differ(self, macro: str) -> bool:
        return self.there.get(macro) != self.here.get(macro)

    def both(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return self.there, self.here

    def symbol(self, hook: Hook) -> str:
        """The function at which a hook is seen, there or else here."""
        return f"{self.there.get(hook.macro) or self.here.get(hook.macro)}()"


def _switches(seen: _Seen) -> Iterator[str]:
    for macro, (only_there, only_here) in _SWITCHES.items():
        if seen.differ(macro):
            yield only_there if macro in seen.there else only_here


def _functions(seen: _Seen) -> Iterator[str]:
    for hook in (*HOOKS, *SYNCS):
        there, here = seen.there.get(hook.macro), seen.here.get(hook.macro)
        if there and there != here:
            lacking = "cannot be probed here in that way" if seen.layout.symbols.exact(there) else "is no function here"
            yield f"it probes {there}(), which {lacking}"
        elif here and not there:
            yield f"it does not probe {here}(), which can be probed here"


def _members(seen: _Seen) -> Iterator[str]:
    for macro in sorted(seen.there.keys() | seen.here.keys()):
        if not seen.differ(macro) or not (found := seen.layout.member(macro)):
            continue
        (struct, member), there, here = found, seen.there.get(macro), seen.here.get(macro)
        if here is None:
            yield f"it reads {member} of struct {struct}, which this kernel does not have"
        elif there is None:
            yield f"it does not read {member} of struct {struct}, which this kernel has"
        else:
            yield f"{member} of struct {struct} is at byte {here} here, and at byte {there} where it was compiled for"


def _parameters(seen: _Seen) -> Iterator[str]:
    for hook in (*HOOKS, *SYNCS):
        name = hook.name.upper()
        result = f"{name}_RESULT"
        grew = result in seen.there.keys() & seen.here.keys() and seen.differ(result)
        if grew or any(seen.differ(f"{name}_{word}") for word in hook.reads):
            yield f"{seen.symbol(hook)} has other parameters here"
        if seen.differ(f"{name}_attrs_POINTER"):
            yield f"attrs of {seen.symbol(hook)} is a pointer in one of the two kernels and not in the other"


def _ways(seen: _Seen) -> Iterator[str]:
    for hook in (*HOOKS, *SYNCS):
        if seen.differ(f"{hook.macro}_{How.FENTRY.name}") and hook.macro in seen.there.keys() & seen.here.keys():
            ways = [How.FENTRY if f"{hook.macro}_{How.FENTRY.name}" in one else How.KPROBE for one in seen.both()]
            yield f"it probes {seen.symbol(hook)} by {ways[0].value}, and here that is done by {ways[1].value}"


def _casts(seen: _Seen) -> Iterator[str]:
    there, here = seen.there.get("RDONLY_CAST"), seen.here.get("RDONLY_CAST")
    if there and not here and seen.layout.cast_defines():
        yield "it is for a kernel that compiles BPF programs, and here net.core.bpf_jit_enable is 0"
    elif there and not here:
        yield "it calls bpf_rdonly_cast(), which this kernel does not have"
    elif here and not there:
        yield "it does not call bpf_rdonly_cast(), which this kernel has"
    elif there != here or seen.differ("SLOT"):
        yield f"it is for another build, whose types have other numbers (bpf_rdonly_cast {there}, and here {here})"


def _others(seen: _Seen) -> Iterator[str]:
    for macro in sorted(seen.there.keys() | seen.here.keys()):
        if seen.differ(macro):
            there, here = (one.get(macro, "none") for one in seen.both())
            yield f"it was compiled with {macro} {there}, and here it has to be {here}"


_TELL: Final[tuple[Callable[[_Seen], Iterator[str]], ...]] = (
    _switches,
    _functions,
    _members,
    _ways,
    _parameters,
    _casts,
)
"""What tells one kernel from another most plainly comes first. Other macros follow from these."""
