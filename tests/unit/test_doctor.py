"""The doctor's report: what is looked at, what decides, and how it reads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

from swiotlb_top.doctor import Check, DoctorReport, examine
from swiotlb_top.errors import Exit

DEADLINE_S = 300.0
FINE = Check("kernel", True, "6.12.117 (x86_64)")
NEEDED = Check("probes", False, "the kernel refuses BPF programs")
OPTIONAL = Check("debugfs", False, "debugfs is not mounted", needed=False)
HOOKS = (("find_slots", "derived from map"), ("map", "fentry+fexit swiotlb_tbl_map_single"))


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


def test_the_report_is_a_line_a_check_and_a_line_a_hook_and_the_upshot() -> None:
    assert DoctorReport((FINE, OPTIONAL, NEEDED), HOOKS).as_text().splitlines() == [
        "ok        kernel      6.12.117 (x86_64)",
        "degraded  debugfs     debugfs is not mounted",
        "MISSING   probes      the kernel refuses BPF programs",
        "hook      find_slots  derived from map",
        "hook      map         fentry+fexit swiotlb_tbl_map_single",
        "swiotlb cannot be watched live here",
    ]
    assert DoctorReport((FINE,), HOOKS).as_text().endswith("\nswiotlb can be watched live here")


def test_the_same_as_json() -> None:
    assert json.loads(json.dumps(DoctorReport((FINE, OPTIONAL), HOOKS).as_json())) == {
        "ok": True,
        "checks": {
            "kernel": {"ok": True, "needed": True, "found": "6.12.117 (x86_64)"},
            "debugfs": {"ok": False, "needed": False, "found": "debugfs is not mounted"},
        },
        "hooks": dict(HOOKS),
    }


def test_this_machine_is_looked_at_whatever_it_lacks() -> None:
    report = examine()
    names = [check.name for check in report.checks]
    assert names == ["kernel", "swiotlb types (BTF) and symbols", "capabilities", "debugfs", "probes"]
    assert report.checks[0].found.startswith(os.uname().release)
    assert all(check.found and "\n" not in check.found for check in report.checks)


def test_the_exit_status_is_the_report_s_and_json_says_the_same() -> None:
    for_people, for_programs = doctor(), doctor("--json")
    report = json.loads(for_programs.stdout)
    status = Exit.OK if report["ok"] else Exit.CANNOT
    assert (for_people.returncode, for_programs.returncode) == (status, status)
    assert (for_people.stderr, for_programs.stderr) == ("", "")
    for name, check in report["checks"].items():
        (mark, found) = re.findall(rf"^(\S+) +{re.escape(name)}  +(.*)$", for_people.stdout, re.MULTILINE)[0]
        assert found == check["found"]
        assert (mark == "ok") == check["ok"]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root, with setpriv, can drop")
def test_root_without_capabilities_is_told_which_are_missing() -> None:
    """As in a container."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    ran = doctor(under=drop)
    assert ran.returncode == Exit.CANNOT
    missing = "CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF"
    assert re.search(rf"^MISSING +capabilities +without {missing}: run as root, not in a container$", ran.stdout, re.M)
    assert re.search("^MISSING +probes +the kernel refuses BPF programs", ran.stdout, re.M)
    assert ran.stdout.endswith("swiotlb cannot be watched live here\n")
