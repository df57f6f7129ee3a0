"""Every reason why a machine cannot be probed, against every way of asking: one line, that reason, its next step, 3."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.kernel import layout, refusals
from swiotlb_top.kernel.no_pool import NoPool, NoPoolError
from swiotlb_top.kernel.refusals import REASONS, Circumstances
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.sources import Source, select
from tests.kernels import layout_of

FINE = Circumstances(
    command_line="root=/dev/vda swiotlb=512,force", lockdown="none", kptr_restrict="1", ftrace_enabled="1"
)
ON_THE_HOST = "look from the host, outside this container"
SITUATIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    # what is so: what of the circumstances, words of the reason, words of the next step
    "swiotlb=noforce": ({"command_line": "swiotlb=noforce"}, "booted with swiotlb=noforce", "nothing to watch"),
    "built out": ({"has_swiotlb": False}, "built without swiotlb", "nothing to watch"),
    "no BTF": ({"has_btf": False}, "BTF", "CONFIG_DEBUG_INFO_BTF=y"),
    "no BTF in a container": ({"has_btf": False, "in_container": True}, "BTF", ON_THE_HOST),
    "lockdown": ({"lockdown": "confidentiality"}, "locked down", "lockdown=integrity"),
    "no capability": (
        {"missing_capabilities": ("CAP_BPF", "CAP_PERFMON"), "is_root": False},
        "CAP_BPF and CAP_PERFMON, which this user has not",
        "run it as root (sudo",
    ),
    "no CAP_BPF": ({"missing_capabilities": ("CAP_BPF",)}, "need CAP_BPF, which root has not", "on the host"),
    "no CAP_PERFMON": ({"missing_capabilities": ("CAP_PERFMON",)}, "CAP_PERFMON, which root has not", "on the host"),
    "masked kallsyms": ({"has_symbols": False}, "/proc/kallsyms", "covered by another file"),
    "masked kallsyms in a container": ({"has_symbols": False, "in_container": True}, "/proc/kallsyms", ON_THE_HOST),
    "kptr_restrict=2": (
        {"hides_addresses": True, "kptr_restrict": "2"},
        "kptr_restrict is 2",
        "sysctl kernel.kptr_restrict=1",
    ),
    "no CAP_SYSLOG": ({"hides_addresses": True}, "CAP_SYSLOG is missing", "with CAP_SYSLOG"),
    "no KALLSYMS_ALL": ({"lists_variables": False}, "io_tlb_default_mem", "CONFIG_KALLSYMS_ALL=y"),
    "ftrace off": ({"ftrace_enabled": "0"}, "while ftrace is off", "sysctl kernel.ftrace_enabled=1"),
}
NO_POOL = [why for why in NoPool if why is not NoPool.NOFORCE]
FORMS = [["-n", "1"], ["-n", "1", "--json"], [], ["--source", "live"], ["record", "-o", "x.swtrace"]]


@pytest.fixture(autouse=True)
def only_probes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """debugfs, which some machines have, would be shown where probes are refused."""

    def unmounted() -> Source:
        raise CannotError("debugfs is not mounted")

    monkeypatch.setitem(select.KERNEL_SOURCES, "debugfs", unmounted)
    monkeypatch.chdir(tmp_path)


def circumstances(situation: str) -> Circumstances:
    return replace(FINE, **SITUATIONS[situation][0])


def refused_in_one_line(capsys: pytest.CaptureFixture[str], form: list[str], *words: str) -> None:
    assert main(form) == Exit.CANNOT
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("swiotlb-top: ")
    assert said.err.count("\n") == 1
    assert all(word in said.err for word in words), said.err
    assert "swiotlb=force" not in said.err
    assert not list(Path.cwd().iterdir())


def the_doctor_says(capsys: pytest.CaptureFixture[str], because: str, next_step: str) -> None:
    assert main(["doctor"]) == Exit.CANNOT
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("swiotlb cannot be watched live here, because ")
    assert because in first
    assert second.startswith("next: ")
    assert next_step in second


def test_nothing_is_refused_where_all_is_fine() -> None:
    refusals.refuse(FINE)


def test_every_reason_of_the_table_is_tried() -> None:
    tried = {next(r.name for r in REASONS if r.holds(circumstances(situation))) for situation in SITUATIONS}
    assert tried == {reason.name for reason in REASONS}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_situation_is_refused_alike_however_one_asks(
    situation: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(refusals, "here", lambda: circumstances(situation))
    _, because, next_step = SITUATIONS[situation]
    for form in FORMS:
        refused_in_one_line(capsys, form, because, next_step)
    the_doctor_says(capsys, because, next_step)


@pytest.mark.parametrize("situation", [name for name in SITUATIONS if name != "swiotlb=noforce"])
def test_check_is_refused_alike(
    situation: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But where there is no pool: that is an answer."""
    monkeypatch.setattr(refusals, "here", lambda: circumstances(situation))
    _, because, next_step = SITUATIONS[situation]
    for form in (["check"], ["check", "--json"], ["check", "--source", "live"]):
        refused_in_one_line(capsys, form, because, next_step)


@pytest.mark.parametrize("why", NO_POOL)
def test_a_machine_that_needs_no_swiotlb_is_not_told_to_boot_with_one(
    why: NoPool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Circumstances) -> None:
        raise NoPoolError(why)

    monkeypatch.setattr(refusals, "refuse", refuse)
    for form in FORMS:
        refused_in_one_line(capsys, form, why.value, why.next_step)
    the_doctor_says(capsys, why.value, why.next_step)


@pytest.mark.parametrize(("first", "second"), list(combinations(SITUATIONS, 2)))
def test_where_several_reasons_hold_one_is_said(first: str, second: str) -> None:
    now = replace(FINE, **{**SITUATIONS[first][0], **SITUATIONS[second][0]})
    with pytest.raises(CannotError) as refusal:
        refusals.refuse(now)
    expected = next(reason for reason in REASONS if reason.holds(now))
    assert refusal.value.because == expected.because(now)
    assert refusal.value.next_step


def test_what_a_kernel_shows_is_read_off_its_files(tmp_path: Path) -> None:
    for path, text in {
        "proc/cmdline": "swiotlb=noforce\n",
        "sys/kernel/security/lockdown": "none integrity [confidentiality]\n",
        "proc/sys/kernel/kptr_restrict": "2\n",
        "proc/sys/kernel/ftrace_enabled": "0\n",
        "proc/self/uid_map": "         0     100000      65536\n",
        "sys/kernel/btf/vmlinux": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    known = layout_of("dynamic")
    hidden = Symbols(dict.fromkeys(known.symbols.addresses, 0))
    found = refusals.here(tmp_path, lambda: replace(known, symbols=hidden))
    assert (found.command_line, found.lockdown, found.kptr_restrict) == ("swiotlb=noforce", "confidentiality", "2")
    assert (found.ftrace_enabled, found.in_container, found.has_btf) == ("0", True, True)
    assert (found.has_symbols, found.has_swiotlb, found.hides_addresses) == (True, True, True)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ({}, (False, False, True)),
        ({"swiotlb_tbl_map_single": 0}, (True, True, False)),
        ({"swiotlb_tbl_map_single": 5}, (True, False, False)),
        ({"swiotlb_tbl_map_single": 5, "io_tlb_default_mem": 7}, (True, False, True)),
    ],
)
def test_symbols_are_missing_hidden_or_functions_only(
    tmp_path: Path, names: dict[str, int], shown: tuple[bool, bool, bool]
) -> None:
    found = refusals.here(tmp_path, lambda: replace(layout_of("dynamic"), symbols=Symbols(names)))
    assert (found.has_symbols, found.hides_addresses, found.lists_variables) == shown


def test_a_kernel_without_swiotlb_is_known_by_its_types(tmp_path: Path) -> None:
    def without() -> layout.Layout:
        raise layout.NoSwiotlbError("this kernel is built without swiotlb (CONFIG_SWIOTLB)")

    assert not refusals.here(tmp_path, without).has_swiotlb
