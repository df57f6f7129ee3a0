"""The flight recorder's unit under a real systemd, on a distribution's own kernel: it starts early in boot, confined.

systemd is PID 1 of a namespace of the guest, and boots what the host has of Debian, with a root that is read-only until
systemd itself has mounted it anew. The unit is enabled and started as on any node; then a disk stalls.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell, ran_well, replay

UNIT = "swiotlb-flight.service"
SYSLOG, PERFMON, BPF = 34, 38, 39
"""Numbers of capabilities."""

INSIDE = f"""
    export PATH=/usr/bin:/bin PYTHONPATH=$PWD
    systemctl show {UNIT} sysinit.target lab.service -p Id -p ActiveState -p InactiveExitTimestampMonotonic \
        -p ActiveEnterTimestampMonotonic -p NRestarts -p User >/results/units
    tries=0
    until journalctl -b -u {UNIT} | grep -q 'are held in memory' || [ $tries -eq 300 ]; do
        tries=$((tries + 1)); sleep 1
    done
    pid=$(systemctl show {UNIT} -p MainPID --value)
    grep -E 'Cap|NoNewPrivs|Uid' /proc/$pid/status >/results/status
    sh $workloads/stall.sh 4 >/results/workload    # its readers stay, and the stall with them
    tries=0
    until ls /run/swiotlb-top/*-failure.swtrace || [ $tries -eq 60 ]; do tries=$((tries + 1)); sleep 1; done
    swiotlb-top snapshot >/results/asked 2>&1
    systemctl stop {UNIT}
    systemctl show {UNIT} -p ActiveState -p Result -p ExecMainStatus >/results/ended
    cp /run/swiotlb-top/*.swtrace /results
    journalctl -b -u {UNIT} -o cat >/results/journal
    journalctl -b -u lab.service -o cat >/results/lab
    touch /results/over
"""

SCRIPT = f"""
    # As the package installs it: the unit sees nothing of /root and /tmp.
    packages=$($python -c 'import click, pathlib; print(pathlib.Path(click.__file__).parents[1])')
    mkdir -p /usr/lib/swiotlb-top
    cp -r swiotlb_top bpf exporters/swiotlb_exporter "$packages/click" /usr/lib/swiotlb-top
    cat >/usr/bin/swiotlb-top <<'END'
#!/bin/sh
PYTHONPATH=/usr/lib/swiotlb-top exec /usr/bin/python3 -m swiotlb_top "$@"
END
    chmod 755 /usr/bin/swiotlb-top

    rm -rf /etc/systemd/system/* /var/cache/private
    echo 'overlay / overlay defaults 0 0' >/etc/fstab
    echo 0123456789abcdef0123456789abcdef >/etc/machine-id
    cp exporters/systemd/{UNIT} /etc/systemd/system
    cat >/run/inside <<'END'
workloads=$PWD/tests/lab/workloads
{INSIDE}
END
    cat >/etc/systemd/system/lab.service <<END
[Service]
Type=oneshot
WorkingDirectory=$PWD
ExecStart=/bin/sh /run/inside
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
END
    systemctl --root=/ enable {UNIT} lab.service 2>/results/enabled
    systemctl --root=/ set-default multi-user.target 2>>/results/enabled
    # Nobody logs in, and the disks are there already.
    systemctl --root=/ mask getty.target systemd-udevd.service systemd-udev-trigger.service 2>>/results/enabled

    unshare --fork --pid --mount --mount-proc --propagation private --kill-child sh -c '
        mount -o remount,ro / && exec /lib/systemd/systemd' >/results/systemd 2>&1 &
    systemd=$!
    tries=0
    until [ -e /results/over ] || [ $tries -eq 600 ]; do tries=$((tries + 1)); sleep 1; done
    kill -KILL $systemd
"""


@pytest.fixture(scope="module")
def files(lab: Lab) -> Path:
    """One guest, whose disk stalls once systemd has booted."""
    return ran_well(lab.run(Machine(kernel="debian", swiotlb="256,force"), guest_shell(SCRIPT))).files


def units(files: Path) -> dict[str, dict[str, str]]:
    blocks = (files / "units").read_text().strip().split("\n\n")
    shown = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
    return {unit["Id"]: unit for unit in shown}


def test_it_is_started_with_the_system_and_before_what_the_system_is_for(files: Path) -> None:
    flight, lab = units(files)[UNIT], units(files)["lab.service"]
    assert (flight["ActiveState"], flight["NRestarts"]) == ("active", "0")
    assert 0 < int(flight["InactiveExitTimestampMonotonic"]) < int(lab["InactiveExitTimestampMonotonic"])


def test_it_records_as_a_user_of_its_own_without_any_capability(files: Path) -> None:
    status = dict(line.split(":", 1) for line in (files / "status").read_text().splitlines())
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Inh", "Amb")} == {0}
    # What the unit lets it have while it attaches. Only who may change capabilities could take these off, too.
    assert int(status["CapBnd"], 16) == sum(1 << capability for capability in (SYSLOG, PERFMON, BPF))
    assert status["NoNewPrivs"].strip() == "1"
    assert 0 not in {int(user) for user in status["Uid"].split()}


def test_the_stall_is_in_a_file_that_the_reference_agrees_with(files: Path) -> None:
    (path,) = files.glob("*-failure.swtrace")
    replayed = replay(path)
    report = replayed.report
    assert (replayed.status, report["verdict"], report["lost"]) == (Exit.OK, "agree", 0)
    assert report["map_failures"] > 0


def test_root_asks_it_for_a_file_and_it_ends_well(files: Path) -> None:
    asked = (files / "asked").read_text()
    assert re.fullmatch(r"/run/swiotlb-top/swiotlb-\d{8}T\d{6}\.\d{3}Z-asked\.swtrace\n", asked), asked
    assert (files / Path(asked.strip()).name).exists()
    ended = dict(line.split("=", 1) for line in (files / "ended").read_text().splitlines())
    assert ended == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
