"""The doctor's report: what is looked at, what decides, and how it reads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.kernel.debugfs import Counters
from swiotlb_top.kernel.settings import Build
from swiotlb_top.kernel.symbols import Symbols
from swiotlb_top.kernel_log.watch import KernelLog
from swiotlb_top.probes.compile import plan
from swiotlb_top.reports.doctor import Attached, Facts, examine, gather, judge
from swiotlb_top.reports.doctor_report import Check, DoctorReport
from swiotlb_top.state import How, MemState
from tests.kernels import layout_of

DEADLINE_S = 300.0
FINE = Check("kernel", True, "6.12.117 (x86_64)")
NEEDED = Check("probes", False, "the kernel refuses BPF programs")
OPTIONAL = Check("debugfs", False, "debugfs is not mounted", needed=False)
HOOKS = (("find_slots", "derived from map"), ("map", "fentry+fexit swiotlb_tbl_map_single"))
CHECKS = [
    "kernel",
    "revision",
    "kernel config",
    "swiotlb types (BTF) and symbols",
    "capabilities",
    "kptr_restrict",
    "lockdown",
    "tracing",
    "debugfs",
    "swiotlb",
    "high water",
    "kernel log",
    "ring buffer",
    "probes",
    "plan",
]
OPTIONS = (
    "SWIOTLB",
    "SWIOTLB_DYNAMIC",
    "BPF_SYSCALL",
    "BPF_EVENTS",
    "BPF_JIT",
    "KPROBES",
    "DEBUG_INFO_BTF",
    "KALLSYMS",
    "KALLSYMS_ALL",
    "DEBUG_FS",
)
DYNAMIC = layout_of("dynamic")
STATE = MemState(
    address=0xFFFFFFFF81EA2940,
    nslabs=512,
    can_grow=True,
    dynamic=True,
    default_nslabs=512,
    default_nareas=2,
    phys_limit=(1 << 32) - 1,
    pools=(),
    total_used=0,
    used_hiwater=0,
    transient_nslabs=0,
)
PLAN = plan.make(DYNAMIC, kprobes=True)
REFUSED = CannotError("the kernel refuses BPF programs")
WELL = Facts(
    release="6.12.117",
    version="#1 SMP PREEMPT_DYNAMIC",
    machine="x86_64",
    page_size_bytes=4096,
    byte_order="little",
    build=Build(Path("/proc/config.gz"), dict.fromkeys(OPTIONS, "y")),
    command_line="root=/dev/vda swiotlb=512,force",
    lockdown="[none] integrity confidentiality",
    securityfs=True,
    kptr_restrict="1",
    ftrace_enabled="1",
    kprobes=True,
    missing_capabilities=(),
    layout=DYNAMIC,
    counters=Counters(nslabs=512, used_slots=0, used_hiwater_slots=0, transient_slots=0),
    attached=Attached(PLAN, STATE),
    planned=PLAN,
    log=KernelLog(),
)
"""The lab's kernel with dynamic pools."""


def check(name: str, facts: Facts = WELL, **changed: Any) -> Check:
    """What one check says of these facts, some of them changed."""
    (found,) = (check for check in judge(replace(facts, **changed)).checks if check.name == name)
    return found


def built_without(*options: str) -> Build:
    return Build(Path("/boot/config-6.12.117"), {option: "y" for option in OPTIONS if option not in options})


def not_attached(**changed: Any) -> dict[str, Any]:
    return {"attached": REFUSED, "counters": CannotError("debugfs is not mounted"), **changed}


def doctor(*arguments: str, under: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*under, sys.executable, "-m", "swiotlb_top", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize(
    ("checks", "exit_code"),
    [
        ((FINE,), Exit.OK),
        ((FINE, OPTIONAL), Exit.OK),
        ((FINE, NEEDED), Exit.CANNOT),
        ((FINE, OPTIONAL, NEEDED), Exit.CANNOT),
    ],
)
def test_only_what_is_needed_decides(checks: tuple[Check, ...], exit_code: Exit) -> None:
    assert DoctorReport(checks, ()).exit_code is exit_code


def test_the_report_is_the_upshot_and_a_line_a_check_and_a_line_a_hook() -> None:
    refusal = CannotError("the kernel refuses BPF programs", "run it elsewhere")
    assert DoctorReport((FINE, OPTIONAL, NEEDED), HOOKS, refusal).as_text().splitlines() == [
        "swiotlb cannot be watched live here, because the kernel refuses BPF programs",
        "next: run it elsewhere",
        "",
        "ok        kernel      6.12.117 (x86_64)",
        "degraded  debugfs     debugfs is not mounted",
        "MISSING   probes      the kernel refuses BPF programs",
        "hook      find_slots  derived from map",
        "hook      map         fentry+fexit swiotlb_tbl_map_single",
    ]
    assert DoctorReport((FINE,), HOOKS).as_text().startswith("swiotlb can be watched live here\n")


def test_the_same_as_json() -> None:
    assert json.loads(json.dumps(DoctorReport((FINE, OPTIONAL), HOOKS).as_json())) == {
        "ok": True,
        "because": None,
        "next_step": None,
        "checks": {
            "kernel": {"ok": True, "needed": True, "found": "6.12.117 (x86_64)"},
            "debugfs": {"ok": False, "needed": False, "found": "debugfs is not mounted"},
        },
        "hooks": dict(HOOKS),
        "devices": [],
    }


def test_a_machine_that_lacks_nothing() -> None:
    report = judge(WELL)
    assert report.exit_code is Exit.OK
    assert report.as_text().splitlines() == [
        "swiotlb can be watched live here",
        "",
        "ok        kernel                           6.12.117 (x86_64)",
        "ok        revision                         6.10: 11 of 13 differences are shown by what is in it, the others "
        "follow from its release; kernels of its kind were booted and compared (swiotlb-top revisions has each)",
        "ok        kernel config                    /proc/config.gz: all that is needed, with CONFIG_SWIOTLB_DYNAMIC",
        f"ok        swiotlb types (BTF) and symbols  {', '.join(DYNAMIC.features)}",
        "ok        capabilities                     all that is needed",
        "ok        kptr_restrict                    1",
        "ok        lockdown                         none",
        "ok        tracing                          fentry is not switched off, kprobes are there",
        "ok        debugfs                          io_tlb_nslabs 512",
        "ok        swiotlb                          swiotlb=512,force, every mapping bounces, 512 slots (1 MiB), "
        "2 areas, dynamic",
        "ok        high water                       kept by the kernel since boot",
        "ok        kernel log                       it tells of no failed map",
        "ok        ring buffer                      16 MiB for a recording: 262,144 records",
        "ok        probes                           attached and detached again; 0 pools read, 512 slots",
        "ok        plan                             nothing is lost",
        "hook      find_slots                       fentry+fexit swiotlb_find_slots",
        "hook      map                              derived from find_slots",
        "hook      unmap                            fentry+fexit __swiotlb_tbl_unmap_single",
        "hook      grow                             fentry+fexit swiotlb_dyn_alloc",
        "hook      alloc_pool                       kretprobe swiotlb_alloc_pool.isra.0",
        "hook      add_pool                         derived from grow",
        "hook      free_pool                        fentry swiotlb_dyn_free",
        "hook      device_init                      fentry swiotlb_dev_init",
    ]


@pytest.mark.parametrize(
    ("name", "changed", "found"),
    [
        ("swiotlb types (BTF) and symbols", {"layout": CannotError("no BTF")}, "no BTF"),
        (
            "capabilities",
            {"missing_capabilities": ("CAP_BPF", "CAP_PERFMON")},
            "without CAP_BPF, CAP_PERFMON",
        ),
        (
            "lockdown",
            {"lockdown": "none integrity [confidentiality]"},
            "confidentiality: BPF may not read the kernel: boot with lockdown=integrity or none",
        ),
        (
            "tracing",
            {"ftrace_enabled": "0"},
            "fentry attaches, and sees nothing: sysctl kernel.ftrace_enabled=1",
        ),
        (
            "swiotlb",
            not_attached(command_line="swiotlb=noforce"),
            "swiotlb=noforce: no memory is set aside",
        ),
        (
            "swiotlb",
            {"attached": REFUSED, "counters": Counters(0, 0, 0, 0), "command_line": ""},
            "no swiotlb= at boot: no memory is set aside",
        ),
        ("probes", {"attached": REFUSED}, "the kernel refuses BPF programs"),
        (
            "plan",
            {"attached": REFUSED, "planned": CannotError("nothing attaches to unmap")},
            "nothing attaches to unmap",
        ),
    ],
)
def test_without_this_nothing_can_be_watched(name: str, changed: dict[str, Any], found: str) -> None:
    assert check(name, **changed) == Check(name, False, found)
    assert judge(replace(WELL, **changed)).exit_code is Exit.CANNOT


@pytest.mark.parametrize(
    ("name", "changed", "found"),
    [
        (
            "kernel config",
            {"build": built_without("KALLSYMS_ALL", "DEBUG_FS")},
            "/boot/config-6.12.117 is without CONFIG_KALLSYMS_ALL (the allocator is not found), "
            "CONFIG_DEBUG_FS (no counters of swiotlb's own)",
        ),
        (
            "tracing",
            {"kprobes": False},
            "no kprobes (CONFIG_KPROBES): where fentry cannot go nothing can",
        ),
        ("debugfs", {"counters": CannotError("not mounted")}, "not mounted"),
    ],
)
def test_without_this_less_is_seen(name: str, changed: dict[str, Any], found: str) -> None:
    assert check(name, **changed) == Check(name, False, found, needed=False)
    assert judge(replace(WELL, **changed)).exit_code is Exit.OK


def test_a_kernel_that_does_not_tell_its_configuration_is_no_failure() -> None:
    told = "not known: neither /proc/config.gz nor /boot/config-6.12.117 can be read"
    assert check("kernel config", build=None) == Check("kernel config", True, told)


def test_a_static_swiotlb_is_built_without_the_option_and_lacks_nothing() -> None:
    assert check("kernel config", build=built_without("SWIOTLB_DYNAMIC")).found.endswith(
        "all that is needed, without CONFIG_SWIOTLB_DYNAMIC"
    )
    assert check("swiotlb", layout=layout_of("debian")).found.endswith(", static")


@pytest.mark.parametrize(("value", "why"), [("2", ""), ("1", " (CAP_SYSLOG is missing)")])
def test_hidden_addresses_are_blamed_on_the_sysctl_or_on_the_capability(value: str, why: str) -> None:
    hidden = replace(DYNAMIC, symbols=Symbols(dict.fromkeys(DYNAMIC.symbols.addresses, 0)))
    found = check("kptr_restrict", layout=hidden, kptr_restrict=value)
    assert found == Check("kptr_restrict", False, f"{value}, and the kernel's addresses are hidden{why}")
    assert not check("swiotlb types (BTF) and symbols", layout=hidden).ok


@pytest.mark.parametrize(
    ("shown", "level"),
    [("none [integrity] confidentiality", "integrity"), ("", "none: this kernel has no lockdown")],
)
def test_a_lockdown_that_lets_bpf_read_is_none_to_the_probes(shown: str, level: str) -> None:
    assert check("lockdown", lockdown=shown) == Check("lockdown", True, level)


def test_where_securityfs_shows_nothing_no_lockdown_is_not_claimed() -> None:
    unknown = "unknown: /sys/kernel/security shows nothing (securityfs is not mounted)"
    found = check("lockdown", **not_attached(lockdown="", securityfs=False))
    assert found == Check("lockdown", False, unknown, needed=False)
    attached = check("lockdown", lockdown="", securityfs=False)
    assert attached == Check("lockdown", True, f"{unknown}; the probes may read the kernel all the same")


@pytest.mark.parametrize("mounted", [True, False])
def test_securityfs_is_taken_for_mounted_where_it_shows_anything(mounted: bool, tmp_path: Path) -> None:
    (tmp_path / "sys/kernel/security").mkdir(parents=True)
    if mounted:
        (tmp_path / "sys/kernel/security/lsm").touch()
    assert gather(tmp_path).securityfs is mounted


def test_what_is_set_aside_is_told_as_far_as_it_is_known() -> None:
    unknown = check("swiotlb", **not_attached(command_line="", layout=CannotError("no BTF")))
    assert unknown == Check("swiotlb", True, "no swiotlb= at boot, what cannot be reached bounces, size not known")
    counted = check("swiotlb", attached=REFUSED, counters=Counters(32768, 0, 0, 0))
    assert "32768 slots (64 MiB), dynamic" in counted.found


@pytest.mark.parametrize(
    ("kernel", "command_line", "used_hiwater", "kept"),
    [
        ("dynamic", "swiotlb=512,force", 7, True),
        ("debian", "", 0, True),
        ("debian-6.1", "swiotlb=512,force", -1, False),
        ("debian-7.3", "swiotlb=512,force", -1, False),
        ("debian-7.3", "swiotlb=512,force,track_hiwater", 7, True),
    ],
)
@pytest.mark.parametrize("attached", [True, False])
def test_the_high_water_is_known_where_the_kernel_keeps_it(
    kernel: str, command_line: str, used_hiwater: int, kept: bool, attached: bool
) -> None:
    found = check(
        "high water",
        layout=layout_of(kernel),
        command_line=command_line,
        attached=Attached(PLAN, replace(STATE, used_hiwater=used_hiwater)) if attached else REFUSED,
    )
    assert (found.ok, found.needed) == (kept, False)
    assert ("since boot" in found.found) is kept
    assert ("track_hiwater" in found.found) == (kernel == "debian-7.3" and not kept)


def test_where_nothing_can_be_attached_the_plan_is_told() -> None:
    report = judge(replace(WELL, attached=REFUSED))
    assert dict(report.hooks)["unmap"] == "planned: fentry+fexit __swiotlb_tbl_unmap_single"
    assert [name for name, _ in report.hooks] == [place.name for place in PLAN.places()]


def test_where_no_plan_can_be_made_there_are_no_hooks_and_the_types_are_to_blame() -> None:
    no_btf = CannotError("no BTF")
    facts = replace(WELL, layout=no_btf, attached=no_btf, planned=no_btf)
    assert judge(facts).hooks == ()
    assert check("plan", facts) == Check("plan", False, "none can be made: swiotlb's types are not known")


def test_a_hook_that_is_not_there_or_misses_calls_says_what_is_lost() -> None:
    refused = {("unmap", How.FENTRY): "busy", ("grow", How.FENTRY): "busy", ("grow", How.KPROBE): "busy"}
    lossy = plan.make(DYNAMIC, kprobes=True, refused=refused)
    report = judge(replace(WELL, attached=Attached(lossy, STATE)))
    hooks = dict(report.hooks)
    assert hooks["grow"] == "absent: growth is not seen (refused: fentry: busy; kprobe: busy)"
    assert hooks["unmap"].startswith("kprobe+kretprobe __swiotlb_tbl_unmap_single (refused: fentry: busy); by kprobes")
    assert hooks["unmap"].endswith("counted as lost events")
    assert check("plan", attached=Attached(lossy, STATE)) == Check(
        "plan", False, "something is lost by unmap, grow", needed=False
    )
    assert report.exit_code is Exit.OK


def test_this_machine_is_looked_at_whatever_it_lacks() -> None:
    report = examine()
    assert [check.name for check in report.checks] == CHECKS
    assert report.checks[0].found.startswith(os.uname().release)
    assert all(check.found and "\n" not in check.found for check in report.checks)


def test_the_exit_status_is_the_report_s_and_json_says_the_same() -> None:
    for_people, for_programs = doctor(), doctor("--json")
    report = json.loads(for_programs.stdout)
    status = Exit.OK if report["ok"] else Exit.CANNOT
    assert (for_people.returncode, for_programs.returncode) == (status, status)
    assert (for_people.stderr, for_programs.stderr) == ("", "")
    for name, check in report["checks"].items():
        words = name.replace("_", r"[\W_]+")
        line = rf"^(\S+) +{words}[^\w\n]*?  +(\S.*)$"
        (mark, found) = re.findall(line, for_people.stdout, re.MULTILINE | re.IGNORECASE)[0]
        assert found == check["found"]
        assert (mark == "ok") == check["ok"]
    if status:
        assert report["because"] in for_people.stdout.splitlines()[0]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root, with setpriv, can drop")
def test_root_without_capabilities_is_told_which_are_missing() -> None:
    """As in a container."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    ran = doctor(under=drop)
    assert ran.returncode == Exit.CANNOT
    assert re.search("^MISSING +capabilities +without CAP_BPF, CAP_PERFMON$", ran.stdout, re.M)
    assert ran.stdout.startswith("swiotlb cannot be watched live here, because ")
