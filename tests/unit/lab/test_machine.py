"""A machine's command line, and the job it is given: what has to be on it for the lab to keep its promises."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.lab.harness import vm
from tests.lab.harness.kernels import KernelImage
from tests.lab.harness.machine import Machine, RunDirectory, Shared, kernel_command_line, qemu_command


def command(machine: Machine, accelerator: str = "tcg", *, terminal: bool = False) -> list[str]:
    image = KernelImage(machine.kernel, Path("KERNEL"))
    return qemu_command(machine, image, accelerator, RunDirectory(Path("RUN"), Path("KEPT")), terminal=terminal)


def values(words: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(words) if name == option]


def test_only_the_test_disks_and_the_network_card_bounce() -> None:
    devices = values(command(Machine()), "-device")
    bouncing = [device.partition(",")[0] for device in devices if "iommu_platform=on" in device]
    assert bouncing == ["virtio-blk-pci", "virtio-net-pci"]
    assert sum(device.startswith("nvme,") for device in devices) == 1
    assert not any("iommu_platform" in share for share in values(command(Machine()), "-virtfs"))


def test_the_hosts_root_is_shared_read_only_and_only_results_and_what_is_kept_can_be_written() -> None:
    root, results, kept = values(command(Machine()), "-virtfs")
    assert "path=/," in root
    assert "readonly=on" in root
    assert "path=RUN/results," in results
    assert "path=KEPT," in kept
    assert "readonly" not in results + kept


def test_the_network_leads_nowhere_but_to_an_echo() -> None:
    (network,) = values(command(Machine()), "-netdev")
    kind, *options = network.split(",")
    assert kind == "user"
    assert "restrict=on" in options
    assert [option for option in options if option.startswith(("guestfwd=", "hostfwd="))] == [
        "guestfwd=tcp:10.0.2.100:7-cmd:cat"
    ]


def test_the_guest_dies_with_its_parent_and_at_its_first_panic() -> None:
    words = command(Machine())
    assert words[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert "-no-reboot" in words
    assert "panic=-1" in values(words, "-append")[0].split()


def test_the_machines_data_is_on_the_command_line() -> None:
    machine = Machine(cpus=4, memory_mb=2048, swiotlb="256,force", extra_cmdline=("nokaslr", "panic=5"))
    words = command(machine)
    assert values(words, "-smp") == ["4"]
    assert values(words, "-m") == ["2048"]
    assert values(words, "-kernel") == ["KERNEL/bzImage"]
    assert values(command(Machine(kernel="debian")), "-kernel") == ["KERNEL/vmlinux"]
    assert "swiotlb=256,force" in kernel_command_line(machine).split()
    assert kernel_command_line(machine).endswith(" nokaslr panic=5")


def test_disks_serve_as_many_requests_a_second_as_they_are_told_to() -> None:
    drives = values(command(Machine(disk_requests_per_second=7)), "-drive")
    assert ["throttling.iops-total=7" in drive.split(",") for drive in drives] == [True, True]
    assert not any("throttling" in word for word in command(Machine()))


def test_a_machine_of_another_architecture_has_a_root_of_its_own_and_the_checkout_beside_it() -> None:
    image = KernelImage("arm64", Path("KERNEL"))
    run = RunDirectory(Path("RUN"), Path("KEPT"))
    shared = Shared(Path("ROOT"), Path("CHECKOUT"))
    words = qemu_command(Machine(kernel="arm64"), image, "tcg", run, terminal=False, shared=shared)
    assert words[3] == "qemu-system-aarch64"
    assert values(words, "-machine") == ["virt"]
    assert "console=ttyAMA0" in values(words, "-append")[0].split()
    root, results, checkout, kept = values(words, "-virtfs")
    assert ("path=ROOT," in root, "path=RUN/results," in results, "path=KEPT," in kept) == (True, True, True)
    assert ("path=CHECKOUT," in checkout, "readonly=on" in checkout) == (True, True)


def test_disks_behind_an_iommu_are_behind_ports_that_lead_out_of_the_machine() -> None:
    words = command(Machine(kernel="debian", behind_iommu=True))
    assert any(machine.startswith("q35,") for machine in values(words, "-machine"))
    devices = values(words, "-device")
    assert any(device.startswith("intel-iommu,") for device in devices)
    buses = {device.partition(",")[0]: device for device in devices if ",bus=out" in device}
    assert set(buses) == {"virtio-blk-pci", "nvme"}
    assert values(words, "-acpitable") == ["file=RUN/external-ports.aml"]
    assert "intel_iommu=on" in values(words, "-append")[0].split()
    plain = command(Machine(kernel="debian"))
    assert not any("iommu," in word or "bus=out" in word or "acpi" in word for word in plain)


def test_a_monitor_is_there_where_one_is_asked_for() -> None:
    image = KernelImage("dynamic", Path("KERNEL"))
    run = RunDirectory(Path("RUN"), Path("KEPT"))
    words = qemu_command(Machine(), image, "tcg", run, terminal=False, monitor_fd=7)
    assert "socket,id=monitor,fd=7" in values(words, "-chardev")
    assert "-mon" in words
    assert "-mon" not in command(Machine())


def test_icount_counts_instructions_on_one_thread() -> None:
    words = command(Machine(icount=True), "icount")
    assert values(words, "-accel") == ["tcg,thread=single"]
    assert values(words, "-icount") == ["shift=0,sleep=off"]
    with pytest.raises(ValueError, match="one CPU"):
        Machine(icount=True, cpus=2)


def test_a_terminal_is_a_console_port_beside_the_status() -> None:
    without, with_terminal = command(Machine()), command(Machine(), terminal=True)
    assert not any("stdio" in word for word in without)
    assert "stdio,id=terminal,signal=off" in with_terminal
    assert values(without, "-serial") == values(with_terminal, "-serial")


def test_the_job_keeps_every_word_of_its_command_and_starts_in_the_checkout() -> None:
    words = ["two words", "it's", "$HOME", "", "*", "back\\slash", "new\nline"]
    report = 'pwd; echo "$PYTHONPATH"; printf "<%s>" "$@"'
    job = vm.job_script(Machine(), ["sh", "-c", report, "sh", *words], None)
    done = subprocess.run(["sh"], input=job, capture_output=True, text=True, check=True, cwd="/")
    directory, python_path, printed = done.stdout.split("\n", 2)
    assert Path(directory) == vm.CHECKOUT
    assert python_path == f"{vm.CHECKOUT}:{vm.CHECKOUT}/exporters"
    assert printed == "".join(f"<{word}>" for word in words)


def test_nothing_of_the_hosts_environment_reaches_the_job() -> None:
    job = vm.job_script(Machine(kernel="debian"), ["env"], vm.Terminal("xterm-256color", 24, 80))
    done = subprocess.run(["sh"], input=job, capture_output=True, text=True, check=True, env={"SECRET": "x"})
    environment = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert "SECRET" not in environment
    assert environment["SWIOTLB_LAB_KERNEL"] == "debian"
    assert environment["TERM"] == "xterm-256color"
    assert environment["PATH"] == vm.GUEST_PATH
