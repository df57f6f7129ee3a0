"""The program is compiled once; then it starts without a compiler, and is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell, ran_well, replay, tried

MAPS = 211

# The first finds what all guests share. What a guest does to its root is gone with it: the host's libbcc
# stays what it is.
SCRIPT = f"""
    record() {{ try $1 $tool record -o /results/$1.swtrace -- sh $workloads/counted.sh {MAPS} nvme0n1; }}
    ls /kept/swiotlb-top/programs >/results/provided
    record one_of_many
    try shown $tool --source live -n 1 -d 0
    ls /kept/swiotlb-top/programs >/results/used
    export XDG_CACHE_HOME=/run/empty
    record compiled
    ls -lnR /run/empty/swiotlb-top >/results/kept
    for one in /run/empty/swiotlb-top/programs/*; do
        cmp "$one" "/kept/swiotlb-top/programs/${{one##*/}}" >>/results/differ 2>&1
    done

    for library in /usr/lib/*/libbcc.so*; do mount --bind /dev/null "$library"; done
    record kept
    chmod 666 /run/empty/swiotlb-top/programs/*
    record anybodys
"""


@pytest.fixture(scope="module")
def files(lab: Lab) -> Path:
    ran = ran_well(lab.run(Machine(), guest_shell(SCRIPT)))
    return ran.files


@pytest.mark.parametrize("name", ["one_of_many", "compiled", "kept"])
def test_compiled_or_kept_it_records_the_same(files: Path, name: str) -> None:
    recorded = tried(files, name)
    assert (recorded.status, recorded.err) == (Exit.OK, "")
    report = replay(files / f"{name}.swtrace").report
    assert (report["maps"], report["verdict"]) == (MAPS, "agree")


def test_the_host_provided_what_recorder_and_screen_run(files: Path) -> None:
    """Else each guest compiles it: tests/lab/harness/programs.py does not know of a way that the tool takes."""
    assert tried(files, "shown").err == ""
    assert (files / "used").read_text() == (files / "provided").read_text() != ""


def test_it_is_kept_for_its_owner_alone_and_is_the_same_each_time(files: Path) -> None:
    assert "-rw------- 1 0 0 " in (files / "kept").read_text()
    assert (files / "differ").read_text() == ""


def test_what_anybody_could_have_written_is_not_loaded(files: Path) -> None:
    refused = tried(files, "anybodys")
    assert (refused.status, refused.out) == (Exit.CANNOT, "")
    assert refused.err.startswith("swiotlb-top: ")
    assert refused.err.count("\n") == 1
