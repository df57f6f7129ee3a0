"""The live screen on a terminal, while a disk of a distribution's kernel stalls; and what is left without rights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.tool import VIRTIO_BLK, guest_shell, tried

# Emulated, a screen takes its time to come up; the count only ends what hangs.
SCRIPT = """
    sh $workloads/stall.sh 2    # its readers stay, and the stall with them

    without='setpriv --bounding-set=-all --inh-caps=-all'
    try no_capabilities $without $tool -n 1 -d 0
    try no_capabilities_live $without $tool --source live -n 1 -d 0
    try nobody setpriv --reuid 65534 --regid 65534 --clear-groups $tool --source debugfs -n 1 -d 0

    pane() { tmux -u -L lab capture-pane -p; }
    until_seen() {
        tries=0
        until pane | grep -q "$1" || [ $tries -eq 600 ]; do tries=$((tries + 1)); sleep 0.5; done
        pane >/results/$2.pane
    }
    press() { tmux -L lab send-keys "$@"; }
    tmux -u -L lab -f /dev/null new-session -d -x 120 -y 40 "$tool; echo ended with \\$?; sleep 1000"
    until_seen '^FAILING.*failed maps/s' headline
    until_seen '^why' reason
    press Enter
    until_seen 'causes of its failed maps' device
    press Escape
    press p
    until_seen PAUSED paused
    press q
    until_seen 'ended with' ended
    tmux -L lab kill-server
"""


LOCKED = """
    mount -t securityfs none /sys/kernel/security
    cat /sys/kernel/security/lockdown
    try debugfs $tool --source debugfs -n 1 -d 0
    try live $tool --source live -n 1 -d 0
"""


@pytest.fixture(scope="module")
def files(lab: Lab) -> Path:
    ran = lab.run(Machine(kernel="debian", swiotlb="256,force"), guest_shell(SCRIPT))
    assert (ran.status, ran.stderr) == (0, "")
    return ran.files


def pane(files: Path, name: str) -> str:
    return (files / f"{name}.pane").read_text()


def test_the_headline_names_the_device_and_its_rate(files: Path) -> None:
    screen = pane(files, "headline")
    failing = re.search(rf"^FAILING +{VIRTIO_BLK} \(virtio-pci\): (\S+) failed maps/s$", screen, re.MULTILINE)
    assert failing, screen
    assert failing[1] not in ("0", "0.0")
    assert screen.splitlines()[0].startswith("swiotlb-top · kernel 6.")


def test_the_reason_is_given_beneath_it_once_a_burst_was_judged(files: Path) -> None:
    screen = pane(files, "reason")
    assert re.search(r"^why +needs 128 slots", screen, re.MULTILINE), screen
    assert re.search(r"^verdict +agree .* in bursts$", screen, re.MULTILINE), screen


def test_pools_areas_failures_and_sizes_are_seen_live(files: Path) -> None:
    screen = pane(files, "reason")
    assert re.search(r"^0x[0-9a-f]+ +default +256 ", screen, re.MULTILINE), screen
    assert "used of 256 in each area" in screen
    assert re.search(rf"{VIRTIO_BLK} +262144 +128 +\d+ +exhausted +agrees", screen), screen


def test_the_device_has_a_page_of_its_own(files: Path) -> None:
    screen = pane(files, "device")
    assert f"DEVICE {VIRTIO_BLK} (virtio-pci)" in screen
    assert re.search(r"^exhausted +\d+", screen, re.MULTILINE), screen
    assert re.search(r"^P99 +[0-9.]+(us|ms)", screen, re.MULTILINE), screen


def test_p_holds_it_and_q_leaves_it(files: Path) -> None:
    assert "PAUSED" in pane(files, "paused").splitlines()[0]
    assert "ended with 0" in pane(files, "ended")
    assert "swiotlb-top" not in pane(files, "ended")


def test_without_capabilities_debugfs_is_shown_and_what_it_cannot_see_is_said(files: Path) -> None:
    shown = tried(files, "no_capabilities")
    assert (shown.status, shown.err) == (Exit.OK, "")
    assert re.search(r"^blind +failed maps are not seen", shown.out, re.MULTILINE), shown.out
    assert re.search(r"^source +debugfs: live: .*CAP_BPF", shown.out, re.MULTILINE), shown.out


@pytest.mark.parametrize("name", ["no_capabilities_live", "nobody"])
def test_a_source_that_cannot_be_had_is_refused_in_one_line(files: Path, name: str) -> None:
    refused = tried(files, name)
    assert (refused.status, refused.out) == (Exit.CANNOT, "")
    assert refused.err.startswith("swiotlb-top: ")
    assert refused.err.count("\n") == 1
    assert "root" in refused.err


def test_a_locked_down_kernel_shows_all_but_the_high_water_to_debugfs_and_that_too_to_the_probes(lab: Lab) -> None:
    ran = lab.run(
        Machine(kernel="debian", swiotlb="256,force", extra_cmdline=("lockdown=integrity",)), guest_shell(LOCKED)
    )
    assert "[integrity]" in ran.stdout
    by_debugfs, by_probes = tried(ran.files, "debugfs"), tried(ran.files, "live")
    assert (by_debugfs.status, by_debugfs.err) == (by_probes.status, by_probes.err) == (Exit.OK, "")
    assert " of 256 used" in by_debugfs.out
    assert "high water - " in by_debugfs.out
    assert "note     the high water is locked away" in by_debugfs.out
    assert re.search(r"high water \d+ \(", by_probes.out), by_probes.out
