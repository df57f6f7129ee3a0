"""What the tool will not or cannot do, it says in one line, with the exit status that scripts look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import Tried, guest_shell, ran_well, tried

PLAIN = "swiotlb-top: "

# Where nothing changes between commands, they share a process.
TOGETHER = 'together="$python $workloads/one_process.py /results"'

SCRIPT = f"""
    {TOGETHER}
    user='setpriv --bounding-set=-all --inh-caps=-all'
    mkdir -m 777 /results/user
    $user $together user_record swiotlb_top record -o /results/user/a.swtrace --duration 1 , \
        user_live swiotlb_top --source live -n 1 -d 0

    echo precious >/results/taken
    umount /sys/kernel/debug
    $together taken swiotlb_top record -o /results/taken --duration 1 , \
        no_command swiotlb_top record -o /results/b.swtrace -- no-such-command , \
        no_directory swiotlb_top record -o /results/missing/c.swtrace --duration 1 , \
        no_debugfs swiotlb_top --source live -n 1 -d 0

    echo 0 >/proc/sys/kernel/ftrace_enabled
    try no_ftrace $tool record -o /results/e.swtrace --duration 1
    echo 1 >/proc/sys/kernel/ftrace_enabled

    mount -t tmpfs none /sys/kernel/btf
    $together no_btf swiotlb_top record -o /results/d.swtrace --duration 1 , \
        no_btf_doctor swiotlb_top doctor , nothing swiotlb_top -n 1 -d 0
"""

OFF = f"""
    {TOGETHER}
    $together record swiotlb_top record -o /results/off.swtrace --duration 1 , plain swiotlb_top -n 1 -d 0 , \
        export swiotlb_top export --source debugfs --exit-if-blind
"""


@pytest.fixture(scope="module")
def results(lab: Lab) -> Path:
    ran = ran_well(lab.run(Machine(kernel="dynamic", swiotlb="512,force"), guest_shell(SCRIPT)))
    return ran.files


@pytest.fixture(scope="module")
def off(lab: Lab) -> Path:
    """A machine whose devices reach all its memory, so that the kernel set none aside."""
    ran = ran_well(lab.run(Machine(kernel="dynamic", swiotlb="noforce"), guest_shell(OFF)))
    return ran.files


def assert_one_line(refused: Tried, status: Exit, *words: str) -> None:
    assert (refused.status, refused.out) == (status, "")
    assert refused.err.startswith(PLAIN)
    assert refused.err.count("\n") == 1
    for word in words:
        assert word in refused.err


@pytest.mark.parametrize("what", ["user_record", "user_live"])
def test_who_has_not_the_privileges_is_told_to_be_root(results: Path, what: str) -> None:
    assert_one_line(tried(results, what), Exit.CANNOT, "root")


def test_probes_that_would_see_nothing_are_refused(results: Path) -> None:
    assert_one_line(tried(results, "no_ftrace"), Exit.CANNOT, "ftrace_enabled=1")


def test_a_recording_that_could_not_begin_leaves_no_file(results: Path) -> None:
    assert list((results / "user").iterdir()) == []
    assert sorted(results.glob("*.swtrace*")) == []


def test_a_file_that_is_there_is_kept(results: Path) -> None:
    assert_one_line(tried(results, "taken"), Exit.CANNOT, "/results/taken exists")
    assert (results / "taken").read_text() == "precious\n"


def test_a_command_that_is_not_there_is_a_mistake_in_the_command_line(results: Path) -> None:
    assert_one_line(tried(results, "no_command"), Exit.USAGE, "no-such-command")


def test_a_directory_that_is_not_there_is_named(results: Path) -> None:
    assert_one_line(tried(results, "no_directory"), Exit.CANNOT, "/results/missing")


def test_the_live_source_needs_no_debugfs(results: Path) -> None:
    screen = tried(results, "no_debugfs")
    assert (screen.status, screen.err) == (Exit.INCONCLUSIVE, ""), "nothing has been watched yet"
    assert "0 of 512 used" in screen.out


def test_a_kernel_without_btf_is_refused_by_that_name(results: Path) -> None:
    assert_one_line(tried(results, "no_btf"), Exit.CANNOT, "BTF")
    doctor = tried(results, "no_btf_doctor")
    assert (doctor.status, doctor.err) == (Exit.CANNOT, "")
    assert "BTF" in next(line for line in doctor.out.splitlines() if line.startswith("MISSING"))


def test_without_any_source_the_screen_shows_nothing_and_says_why(results: Path) -> None:
    assert_one_line(tried(results, "nothing"), Exit.CANNOT, "BTF")


def test_swiotlb_that_is_off_is_said_to_be(off: Path) -> None:
    assert_one_line(tried(off, "record"), Exit.CANNOT, "swiotlb is off")
    assert not list(off.glob("off.swtrace*"))


def test_with_swiotlb_off_the_screen_shows_nothing_and_says_why(off: Path) -> None:
    assert_one_line(tried(off, "plain"), Exit.CANNOT, "swiotlb is off")


def test_with_swiotlb_off_the_exporter_does_not_serve_a_recording(off: Path) -> None:
    assert_one_line(tried(off, "export"), Exit.CANNOT, "swiotlb is off")
