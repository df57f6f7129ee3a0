"""Each reason why a machine cannot be watched, provoked on real kernels and asked for by each command.

What can be changed while a machine runs is tried in one; what is decided at boot has a machine of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from tests.lab.harness.lab import Lab
from tests.lab.harness.machine import Machine
from tests.lab.support.tool import guest_shell, ran_well, tried

LOCK_DOWN = {"debian", "debian-6.1", "debian-7.3"}
FTRACE_CAN_BE_OFF = {"dynamic", "debian", "debian-6.1"}
"""7.3 says: "The ftrace_enabled file is deprecated and no longer disables ftrace"."""
KERNELS = ["dynamic", "debian", "debian-6.1", "debian-7.3"]
FORMS = {
    "screen": "-n 1 -d 0",
    "json": "-n 1 -d 0 --json",
    "live": "--source live",
    "record": "record -o /results/x.swtrace --duration 1",
    "export": "export --exit-if-blind --source live --web.listen-address 127.0.0.1:0",
    "doctor": "doctor",
}
ON_THE_HOST = "look from the host, outside this container"
MARKED = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
"""The guest's root is this machine's, with the marks of a container if it is one."""
REASONS = {
    # how the situation is named in the script: words of its reason, of its next step
    "user": ("CAP_BPF and CAP_PERFMON, which this user has not", "run it as root (sudo"),
    "no_bpf": ("probes need CAP_BPF, which root has not", "on the host"),
    "no_perfmon": ("probes need CAP_PERFMON, which root has not", "on the host"),
    "no_syslog": ("CAP_SYSLOG is missing", "with CAP_SYSLOG"),
    "kptr": ("kernel.kptr_restrict is 2", "sysctl kernel.kptr_restrict=1"),
    "ftrace": ("while ftrace is off", "sysctl kernel.ftrace_enabled=1"),
    "no_btf": ("BTF", ON_THE_HOST if MARKED else "CONFIG_DEBUG_INFO_BTF=y"),
    "container": ("BTF", ON_THE_HOST if MARKED else "CONFIG_DEBUG_INFO_BTF=y"),
    "lockdown": ("locked down (confidentiality)", "boot with lockdown=integrity"),
    "masked": ("/proc/kallsyms", ON_THE_HOST if MARKED else "covered by another file"),
}

_ASK = " , ".join(f"${{situation}}_{form} swiotlb_top {words}" for form, words in FORMS.items())
# Without debugfs nothing is shown in place of what is refused. A process each: what a kernel shows is read once.
_ALL_FORMS = f"""
umount /sys/kernel/debug
together="$python $workloads/one_process.py /results"
ask() {{ situation=$1; shift; "$@" $together {_ASK}; }}
"""
RUNNING = f"""
    {_ALL_FORMS}
    without() {{ echo "setpriv --bounding-set=$1 --inh-caps=$1"; }}
    apart='unshare --mount sh -c'
    echo 1 >/proc/sys/kernel/kptr_restrict
    chmod 777 /results
    ask user setpriv --reuid=65534 --regid=65534 --clear-groups
    ask no_bpf $(without -sys_admin,-bpf)
    ask no_perfmon $(without -sys_admin,-perfmon)
    ask no_syslog $(without -sys_admin,-syslog)
    echo 2 >/proc/sys/kernel/kptr_restrict
    ask kptr
    echo 1 >/proc/sys/kernel/kptr_restrict
    echo 0 2>/dev/null >/proc/sys/kernel/ftrace_enabled
    [ "$(cat /proc/sys/kernel/ftrace_enabled)" = 1 ] || ask ftrace
    echo 1 2>/dev/null >/proc/sys/kernel/ftrace_enabled
    ask no_btf $apart 'mount -t tmpfs none /sys/kernel/btf && exec "$@"' sh
    ask container $apart 'mount -t tmpfs none /sys/kernel && mount --bind /dev/null /proc/kallsyms && exec "$@"' sh
    ask masked $apart 'mount --bind /dev/null /proc/kallsyms && exec "$@"' sh
    lockdown=/sys/kernel/security/lockdown
    mount -t securityfs none /sys/kernel/security 2>/dev/null
    if [ -e $lockdown ]; then echo confidentiality >$lockdown; ask lockdown; fi  # last: nothing takes it back
"""
AT_BOOT = f"""
    {_ALL_FORMS}
    ask off
"""
BOOTS = {"noforce": "booted with swiotlb=noforce", "512": "reach all of this machine's memory"}
"""Values of swiotlb= that leave a machine of 1 GiB without a pool, and why."""


@pytest.fixture(scope="module", params=KERNELS)
def running(lab: Lab, request: pytest.FixtureRequest) -> tuple[str, Path]:
    ran = ran_well(lab.run(Machine(kernel=request.param), guest_shell(RUNNING)))
    return request.param, ran.files


def assert_refused(files: Path, situation: str, because: str, next_step: str) -> None:
    for form in FORMS:
        ended = tried(files, f"{situation}_{form}")
        where = (situation, form, ended)
        assert ended.status == Exit.CANNOT, where
        if form == "doctor":
            first, second, *_ = ended.out.splitlines()
            assert (because in first, next_step in second, ended.err) == (True, True, ""), where
        else:
            assert (because in ended.err, next_step in ended.err, ended.out) == (True, True, ""), where
            assert ended.err.count("\n") == 1, where
        assert "swiotlb=force" not in ended.err + ended.out.partition("\n\n")[0], where
    assert not list(files.glob("x.swtrace*"))


@pytest.mark.parametrize("situation", REASONS)
def test_each_reason_is_said_alike_by_every_command(running: tuple[str, Path], situation: str) -> None:
    kernel, files = running
    if kernel not in {"lockdown": LOCK_DOWN, "ftrace": FTRACE_CAN_BE_OFF}.get(situation, KERNELS):
        assert not list(files.glob(f"{situation}_*"))
        return
    assert_refused(files, situation, *REASONS[situation])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("boot", BOOTS)
def test_a_machine_without_a_pool_is_told_so_and_to_do_nothing(lab: Lab, kernel: str, boot: str) -> None:
    ran = ran_well(lab.run(Machine(kernel=kernel, swiotlb=boot), guest_shell(AT_BOOT)))
    assert_refused(ran.files, "off", BOOTS[boot], "nothing to watch")
