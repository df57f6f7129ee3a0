"""The table of hooks is the only list of them: what else names one comes from it, or is held against it here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swiotlb_top.kernel import hooks, layout, symbols
from swiotlb_top.kernel.hooks import HOOKS, SYNCS

BPF = Path(__file__).parents[3] / "bpf"


def test_the_c_has_programs_for_each_hook_both_ways_and_for_no_other() -> None:
    attach_h = (BPF / "attach.h").read_text()
    probed = re.findall(r"^#if(?:def |.* && defined\()(HOOK_\w+)_(FENTRY|KPROBE)\)?$", attach_h, re.MULTILINE)
    assert sorted(probed) == sorted((hook.macro, how) for hook in (*HOOKS, *SYNCS) for how in ("FENTRY", "KPROBE"))


def test_the_c_asks_for_no_parameter_that_its_hook_does_not_read() -> None:
    attach_h = (BPF / "attach.h").read_text()
    every = (*HOOKS, *SYNCS)
    words = {f"{hook.name.upper()}_{word}" for hook in every for word in hook.reads}
    asked = {word for hook in every for word in re.findall(rf"\b{hook.name.upper()}_[a-z]\w*\b", attach_h)}
    assert asked <= words


@pytest.mark.parametrize("function", hooks.FUNCTIONS)
def test_each_function_is_found_in_kallsyms_under_its_own_name_and_a_clone_s(function: str, tmp_path: Path) -> None:
    listed = tmp_path / "kallsyms"
    listed.write_text(f"ffffffff810dd320 t {function}\nffffffff810dd5c0 t {function}.isra.0\n")
    known = symbols.load(listed)
    assert known.exact(function)
    assert known.suffixed(function) == f"{function}.isra.0"


def test_each_function_s_parameters_are_looked_for() -> None:
    assert set(hooks.FUNCTIONS) <= set(layout.FUNCTIONS)
