"""The kernel's own DMA benchmark (CONFIG_DMA_MAP_BENCHMARK) on the nvme function, run inside the guest.

Takes the function from the nvme driver, gives it to dma_map_benchmark and asks for one run. With `icount` and one CPU
the means are instructions and repeat to the last digit; their resolution is 100.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import struct
from dataclasses import dataclass
from pathlib import Path

# struct map_benchmark (include/linux/map_benchmark.h): four u64 of results, then u32 threads, seconds,
# s32 node, u32 dma_bits, dma_dir, dma_trans_ns, granule (pages a map), and room for more.
MAP_BENCHMARK = struct.Struct("=4Q2Ii4I76x")
# _IOWR('d', 1, struct map_benchmark)
DMA_MAP_BENCHMARK = 3 << 30 | MAP_BENCHMARK.size << 16 | ord("d") << 8 | 1
NO_NUMA_NODE = -1
DMA_BITS = 64
DIRECTIONS = ("bidirectional", "to_device", "from_device")  # their places are the kernel's DMA_MAP_* numbers
DRIVER = "dma_map_benchmark"
PCI = Path("/sys/bus/pci")
DEBUGFS = Path("/sys/kernel/debug")


@dataclass(frozen=True, slots=True)
class Means:
    """What one run found. The kernel gives units of 100 ns; these are ns (under `icount`, instructions)."""

    map_ns: int
    map_stddev_ns: int
    unmap_ns: int
    unmap_stddev_ns: int


def bind(function: str) -> None:
    """Give PCI `function` (e.g. "0000:00:05.0") to the benchmark, which takes one device; no-op if it has it."""
    device = PCI / "devices" / function
    driver = device / "driver"
    if driver.exists() and driver.resolve().name == DRIVER:
        return
    if driver.exists():
        (driver / "unbind").write_text(function)
    (device / "driver_override").write_text(DRIVER)
    (PCI / "drivers" / DRIVER / "bind").write_text(function)


def nvme_function() -> str:
    """The PCI function of class 0x0108 (non-volatile memory), whoever drives it. LookupError if there is none."""
    for device in sorted((PCI / "devices").iterdir()):
        if (device / "class").read_text().startswith("0x0108"):
            return device.name
    raise LookupError("no nvme function on this PCI bus")


def benchmark(
    *, seconds: int = 1, threads: int = 1, pages: int = 1, direction: str = "from_device", dma_bits: int = DMA_BITS
) -> Means:
    """Map and unmap `pages` pages for `seconds` in each of `threads` threads. OSError if the kernel refuses.

    The device reaches addresses of `dma_bits` meanwhile.
    """
    request = bytearray(
        MAP_BENCHMARK.pack(0, 0, 0, 0, threads, seconds, NO_NUMA_NODE, dma_bits, DIRECTIONS.index(direction), 0, pages)
    )
    with (DEBUGFS / DRIVER).open("r+b", buffering=0) as file:
        fcntl.ioctl(file, DMA_MAP_BENCHMARK, request)
    means = MAP_BENCHMARK.unpack(request)[:4]
    return Means(*(hundreds * 100 for hundreds in means))


def fail(times: int, dma_bits: int) -> None:
    """Let a map fail so often, the first of each run: the device reaches too little. OSError if it fails otherwise."""
    for _ in range(times):
        try:
            benchmark(dma_bits=dma_bits)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
        else:
            raise RuntimeError(f"a device that reaches {dma_bits} bits was mapped for")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--direction", choices=DIRECTIONS, default="from_device")
    parser.add_argument("--dma-bits", type=int, default=DMA_BITS)
    parser.add_argument("--fail", type=int, default=0, help="let so many maps fail, and measure nothing")
    options = parser.parse_args()
    bind(nvme_function())
    if options.fail:
        fail(options.fail, options.dma_bits)
        return
    means = benchmark(
        seconds=options.seconds, threads=options.threads, pages=options.pages, direction=options.direction
    )
    print(f"map_ns {means.map_ns} stddev {means.map_stddev_ns}")
    print(f"unmap_ns {means.unmap_ns} stddev {means.unmap_stddev_ns}")


if __name__ == "__main__":
    main()
