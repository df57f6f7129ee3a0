"""A program that the host compiled, from what the guest tells of its kernel, is loaded there without a compiler."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.kernel import elsewhere
from swiotlb_top.probes.compile import given, program_file
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.harness.monitor import Monitor
from tests.lab.harness.vm import CHECKOUT
from tests.lab.support.tool import DEADLINE_S, PYTHON, guest_shell, ran_well, replay, tried

MAPS = 211
KERNEL = "debian"

SCRIPT = f"""
    cp /sys/kernel/btf/vmlinux /results/btf && cat /proc/kallsyms | gzip -c >/results/kallsyms.gz && : >/results/asked
    until [ -e /results/built ]; do sleep 1; done
    mkdir /run/programs /run/others
    cp /results/here.swprog /run/programs && mv /results/others.swprog /run/others

    # What compiles is gone; what was kept is elsewhere.
    for library in /usr/lib/*/libbcc.so* /usr/lib/*/libLLVM* /usr/lib/*/libclang*; do
        mount --bind /dev/null "$library"
    done
    export XDG_CACHE_HOME=/run/kept
    here=/run/programs/here.swprog

    try without $tool record -o /results/without.swtrace --duration 0.1
    record() {{
        try $1 $tool record -o /results/$1.swtrace --program $2 -- sh $workloads/counted.sh {MAPS} nvme0n1
    }}
    record file $here
    record directory /run/programs
    try screen $tool -n 1 -d 0 --json --source live --program $here
    try check $tool check --seconds 1 --json --source live --program $here
    try doctor $tool doctor --json --program $here

    $tool export --source live --textfile /run --interval 1 --flight 5s -o /run/flights --program $here \
        2>/results/export.err &
    exporter=$!
    until grep -qs '^swiotlb_up 1' /run/swiotlb.prom; do kill -0 $exporter || break; sleep 2; done
    cp /run/swiotlb.prom /results
    kill -TERM $exporter
    wait $exporter
    echo $? >/results/export.status

    try moved $tool record -o /results/no.swtrace --duration 1 --program /run/others/others.swprog
    try no_such $tool record -o /results/no.swtrace --duration 1 --program /run/others
    chmod 666 $here
    try anybodys $tool record -o /results/no.swtrace --duration 1 --program $here
    ls -A /run/kept >/results/kept 2>&1 || true
"""
NSLABS_MOVED_BY = 8


def build(monitor: Monitor, results: Path, over: threading.Event) -> None:
    """Compile for the guest, once it has told what its kernel is like."""
    while not (results / "asked").exists():
        if over.wait(0.2):
            return
    words = f"program build --btf btf --kallsyms kallsyms.gz --release {KERNEL} -o here.swprog".split()
    built = subprocess.run(
        [PYTHON, "-m", "swiotlb_top", *words],
        cwd=results,
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'exporters'}"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    (results / "build.err").write_text(built.stderr)
    if not built.returncode:
        whole = given.read(results / "here.swprog")
        (results / "others.swprog").write_bytes(program_file.packed(of_another_kernel(whole)))
    (results / "built").touch()


def of_another_kernel(whole: program_file.ProgramFile) -> program_file.ProgramFile:
    """The same programs, as if they had been compiled for another build, in which a member lies elsewhere."""
    images = {}
    for macros, image in whole.images.items():
        moved = dict(macros) | {"O_mem_nslabs": str(int(dict(macros)["O_mem_nslabs"]) + NSLABS_MOVED_BY)}
        images[frozenset(moved.items())] = image
    return program_file.ProgramFile(replace(whole.made, btf="0" * 64), images)


@pytest.fixture(scope="module")
def files(lab: Lab) -> Path:
    ran = ran_well(lab.run(Machine(kernel=KERNEL), guest_shell(SCRIPT), meanwhile=build))
    assert (ran.files / "build.err").read_text() == ""
    return ran.files


def test_without_it_the_guest_has_no_compiler(files: Path) -> None:
    without = tried(files, "without")
    assert without.status == Exit.CANNOT
    assert "bcc cannot be imported" in without.err


@pytest.mark.parametrize("name", ["file", "directory"])
def test_a_recording_is_what_it_is_with_a_compiler(files: Path, name: str) -> None:
    recorded = tried(files, name)
    assert (recorded.status, recorded.err) == (Exit.OK, "")
    report = replay(files / f"{name}.swtrace").report
    assert (report["maps"], report["lost"], report["verdict"]) == (MAPS, 0, "agree")


def test_screen_and_check_watch_with_it(files: Path) -> None:
    frame = json.loads(tried(files, "screen").out)
    assert (frame["source"], tried(files, "screen").err) == ("live", "")
    checked = json.loads(tried(files, "check").out)
    assert checked["watched"]["source"] == "live"


def test_doctor_attaches_with_it(files: Path) -> None:
    looked = tried(files, "doctor")
    assert (looked.status, looked.err) == (Exit.OK, "")


def test_the_exporter_watches_with_it_and_hosts_a_flight_recorder(files: Path) -> None:
    assert (files / "export.status").read_text() == "0\n", (files / "export.err").read_text()
    page = (files / "swiotlb.prom").read_text()
    assert "\nswiotlb_up 1" in page
    assert 'source="live"' in page


def test_for_another_kernel_it_is_refused_by_what_differs(files: Path) -> None:
    layout = elsewhere.read(files / "btf", files / "kallsyms.gz").layout
    at = layout.at("mem", "nslabs")
    moved = tried(files, "moved")
    assert moved.status == Exit.CANNOT
    assert moved.err == (
        "swiotlb-top: the programs in /run/others/others.swprog are not for this kernel: nslabs of struct io_tlb_mem "
        f"is at byte {at} here, and at byte {at + NSLABS_MOVED_BY} where it was compiled for; swiotlb-top program "
        "build makes one for it\n"
    )


def test_a_directory_without_one_for_this_build_is_refused(files: Path) -> None:
    refused = tried(files, "no_such")
    assert refused.status == Exit.CANNOT
    assert "no file in /run/others is for this kernel (" in refused.err
    assert "there are others.swprog;" in refused.err


def test_what_anybody_could_have_written_is_not_loaded(files: Path) -> None:
    refused = tried(files, "anybodys")
    assert refused.status == Exit.UNREADABLE
    assert "others than root and this user can write it" in refused.err


def test_nothing_is_kept_where_nothing_was_compiled(files: Path) -> None:
    assert "No such file" in (files / "kept").read_text()
