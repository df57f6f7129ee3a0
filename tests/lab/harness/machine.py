"""A virtual machine as data, and the QEMU command line that is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.harness.architectures import AMD64, Architecture
from tests.lab.harness.kernels import KernelImage

BOUNCING = "disable-legacy=on,iommu_platform=on"
"""What makes a virtio device ask the DMA API for addresses."""
IOMMU = (
    *("-machine", "q35,kernel-irqchip=split", "-device", "intel-iommu,intremap=on"),
    *("-device", "pcie-root-port,id=out0,bus=pcie.0,addr=10.0,chassis=1"),
    *("-device", "pcie-root-port,id=out1,bus=pcie.0,addr=11.0,chassis=2"),
)
"""With acpi/external-ports.asl, the two ports lead out of the machine."""
ECHO_ADDRESS = "10.0.2.100"
ECHO_PORT = 7
"""What is sent here over the network card comes back. The guest is 10.0.2.15/24, and there is nobody else."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What may differ between two runs. Equal machines under `icount` run the same instructions."""

    kernel: str = "dynamic"
    """A name of `kernels.KERNELS`, or the path of a bzImage, with a slash in it."""
    cpus: int = 1
    swiotlb: str = "512,force"
    """Value of the kernel's `swiotlb=`: slots of 2 KiB each, and whether all DMA bounces."""
    memory_mb: int = 1024
    icount: bool = False
    """Guest time counts instructions (1 ns each): for measuring; wants `cpus=1`."""
    in_turn: bool = False
    """Emulated CPUs run in turns, on one thread: where kernel text is patched under load, parallel ones of QEMU's may
    run into a breakpoint that is gone by then, which no real CPU does."""
    behind_iommu: bool = False
    """The test disks are behind an IOMMU, and behind ports that lead out of the machine: the kernel does not trust
    them, and bounces each buffer that is not made of whole pages. For kernels that have a driver of the IOMMU:
    Debian's."""
    disk_requests_per_second: int = 0
    """How many each of the test disks serves, however fast the host is; 0: as many as it can. On a disk that takes its
    time, those who read at once are all in it at once: on every boot, as many slots are in use."""
    extra_cmdline: tuple[str, ...] = ()
    """Further words for the kernel's command line; later words win over the lab's own."""

    def __post_init__(self) -> None:
        if self.icount and self.cpus != 1:
            raise ValueError("icount is for one CPU: QEMU counts instructions on a single thread")


@dataclass(frozen=True, slots=True)
class Shared:
    """What of the host's files a guest sees, and cannot change."""

    root: Path
    """Its root file system, below what it writes itself."""
    checkout: Path | None = None
    """What it sees at the same place beside that, if its root is not the host's."""


THE_HOSTS = Shared(Path("/"))


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where one run keeps its files on the host."""

    path: Path
    kept: Path
    """What one run leaves for the next: the programs that the tool compiled in a guest."""

    initramfs: Path = field(init=False)
    console: Path = field(init=False)
    status: Path = field(init=False)
    stdout: Path = field(init=False)
    stderr: Path = field(init=False)
    results: Path = field(init=False)
    virtio_disk: Path = field(init=False)
    nvme_disk: Path = field(init=False)
    acpi: Path = field(init=False)
    """A table that is added to the machine's own."""
    sizes: Path = field(init=False)
    """A FIFO: sizes that the caller's terminal takes while the command runs."""

    def __post_init__(self) -> None:
        names = {
            "initramfs": "initramfs.cpio",
            "console": "console.log",
            "status": "status",
            "stdout": "stdout",
            "stderr": "stderr",
            "results": "results",
            "virtio_disk": "vda.img",
            "nvme_disk": "nvme0n1.img",
            "acpi": "external-ports.aml",
            "sizes": "sizes",
        }
        for attribute, name in names.items():
            object.__setattr__(self, attribute, self.path / name)


def kernel_command_line(machine: Machine, architecture: Architecture = AMD64) -> str:
    """`panic=-1` with QEMU's `-no-reboot`: a panic ends the run at once. An oops is made one: its guest is not sane.

    `no_timer_check`: on a busy host emulated ticks come too late for setup_IO_APIC(), which panics then.
    `nr_uarts`: looking for others than the console takes a quarter of a second.
    """
    words = [
        f"console={architecture.console}",
        "panic=-1",
        "oops=panic",
        "no_timer_check",
        "mitigations=off",
        "8250.nr_uarts=1",
    ]
    if machine.behind_iommu:
        # Strict: a mapping ends when the driver says so, not some time later and together with others.
        words += ["intel_iommu=on", "iommu.strict=1"]
    return " ".join((*words, f"swiotlb={machine.swiotlb}", *machine.extra_cmdline))


def qemu_command(
    machine: Machine,
    image: KernelImage,
    accelerator: str,
    run: RunDirectory,
    *,
    terminal: bool,
    shared: Shared = THE_HOSTS,
    monitor_fd: int | None = None,
) -> list[str]:
    """The arguments that run `machine`. What is said on `monitor_fd`, a connected socket, is QMP.

    Only the two test disks (and NVMe always does) and the network card go through the DMA API and so through swiotlb:
    virtio devices without `iommu_platform` bypass it, so an exhausted swiotlb leaves root, results and ports alone.
    """
    how = "tcg in turn" if machine.in_turn and accelerator == "tcg" else accelerator
    architecture = image.architecture
    command = ["setpriv", "--pdeathsig", "KILL", architecture.qemu, *architecture.accelerators[how]]
    command += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
    if machine.behind_iommu:
        command += IOMMU
        command += ["-acpitable", f"file={run.acpi}"]
    if monitor_fd is not None:
        command += ["-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control"]
    command += ["-smp", str(machine.cpus), "-m", str(machine.memory_mb)]
    command += ["-kernel", str(image.bootable), "-initrd", str(run.initramfs)]
    command += ["-append", kernel_command_line(machine, architecture), "-serial", f"file:{run.console}"]
    command += _shared_directory("root", shared.root, "readonly=on,multidevs=remap")
    command += _shared_directory("results", run.results, "multidevs=remap")
    if shared.checkout:
        command += _shared_directory("checkout", shared.checkout, "readonly=on,multidevs=remap")
    vda, nvme = (",bus=out0", ",bus=out1") if machine.behind_iommu else ("", "")
    pace = f",throttling.iops-total={rate}" if (rate := machine.disk_requests_per_second) else ""
    command += _disk("vda", f"{run.virtio_disk}{pace}", f"virtio-blk-pci,{BOUNCING}{vda}")
    command += _disk("nvme", f"{run.nvme_disk}{pace}", f"nvme,serial=lab{nvme}")
    command += ["-device", "virtio-serial-pci"]
    # No way out of the guest but an echo, whose server is a process of QEMU's own.
    command += ["-netdev", f"user,id=net,restrict=on,guestfwd=tcp:{ECHO_ADDRESS}:{ECHO_PORT}-cmd:cat"]
    command += ["-device", f"virtio-net-pci,{BOUNCING},netdev=net,romfile="]
    # Behind the disks, whose PCI addresses tests know.
    command += _shared_directory("kept", run.kept, "multidevs=remap")
    if terminal:
        command += ["-chardev", "stdio,id=terminal,signal=off", "-device", "virtconsole,nr=0,chardev=terminal"]
        command += ["-chardev", f"pipe,id=sizes,path={run.sizes}"]
        command += ["-device", "virtserialport,nr=4,chardev=sizes"]
    for number, port in enumerate((run.status, run.stdout, run.stderr), start=1):
        command += ["-chardev", f"file,id={port.name},path={port}"]
        command += ["-device", f"virtserialport,nr={number},chardev={port.name}"]
    return command


def _shared_directory(tag: str, path: Path, options: str) -> list[str]:
    return ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,{options}"]


def _disk(name: str, image: str, device: str) -> list[str]:
    return ["-drive", f"if=none,id={name},file={image},format=raw,cache=unsafe", "-device", f"{device},drive={name}"]
