"""Every line of the public reports is understood: its device, its driver and its cause, behind every prefix."""

from __future__ import annotations

import re

import pytest

from swiotlb_top.kernel_log.causes import LogCause, cause_of
from swiotlb_top.kernel_log.lines import Line, read
from swiotlb_top.kernel_log.wordings import WORDINGS, Kind, Wording
from tests.support.logs import REPORTED

LINES = [line.split("\t") for line in REPORTED.read_text().splitlines() if not line.startswith("#")]

PREFIXES = {
    "none": ("", ""),
    "dmesg": ("[   12.345678] ", "[12.345678]"),
    "dmesg before 10 s, tight": ("[    0.000001]", "[0.000001]"),
    "dmesg, who printed it": ("[   12.345678][   T12] ", "[12.345678]"),
    "dmesg, who printed it, apart": ("[   12.345678] [    C3] ", "[12.345678]"),
    "dmesg -d": ("[   12.345678 <    0.000021>] ", "[12.345678]"),
    "dmesg -e": ("[Nov29 11:56] ", ""),
    "dmesg -e, after": ("[  +0.000021] ", ""),
    "dmesg -T": ("[Sun Nov 29 11:56:17 2026] ", "Sun Nov 29 11:56:17 2026"),
    "dmesg -x": ("kern  :warn  : [   12.345678] ", "[12.345678]"),
    "dmesg --time-format=iso": ("2026-11-29T11:56:17,123456+00:00 ", "2026-11-29T11:56:17,123456+00:00"),
    "console": ("<4>[   12.345678] ", "[12.345678]"),
    "serial console": ("\x1b[0m\r[   12.345678] ", "[12.345678]"),
    "journalctl": ("Nov 29 11:56:17 host-1 kernel: ", "Nov 29 11:56:17"),
    "journalctl -o short-precise": ("Nov 29 11:56:17.123456 host kernel: ", "Nov 29 11:56:17.123456"),
    "journalctl -o short-iso": ("2026-11-29T11:56:17+0000 host kernel: ", "2026-11-29T11:56:17+0000"),
    "journalctl -o short-full": ("Sun 2026-11-29 11:56:17 UTC host kernel: ", "2026-11-29 11:56:17 UTC"),
    "journalctl -o short-monotonic": ("[   12.345678] host kernel: ", "[12.345678]"),
    "journalctl -o short-unix": ("1764417377.123456 host kernel: ", ""),
    "syslog": ("Nov  9 11:56:17 host kernel: [   12.345678] ", "Nov  9 11:56:17"),
    "/dev/kmsg": ("4,1234,12345678,-;", "[12.345678]"),
    "/dev/kmsg, who printed it": ("4,1234,12345678,-,caller=T1;", "[12.345678]"),
    "quoted in a mail": ("> > [   12.345678] ", "[12.345678]"),
}


@pytest.mark.parametrize("prefix", PREFIXES, ids=list(PREFIXES))
def test_every_reported_line_is_understood(prefix: str) -> None:
    before, when = PREFIXES[prefix]
    for report, cause, who, text in LINES:
        line = _read(before + text)
        verdict = cause_of(line)
        found = verdict and verdict.cause.value, " ".join(filter(None, (line.driver, line.device)))
        assert found == (cause, who), f"{report}: {before}{text}"
        assert (line.when, line.text) == (when, text)


@pytest.mark.parametrize(
    "text",
    [
        "software IO TLB: mapped [mem 0x000000006fbf7000-0x0000000073bf7000] (64MB)",
        "software IO TLB: mapped [mem 0x0000001fb9c00000-0x0000001ff9c00000] (1024MB)",
        "software IO TLB: area num 8.",
        "software IO TLB: SWIOTLB bounce buffer size adjusted to 965MB",
        "software IO TLB: SWIOTLB bounce buffer size roundup to 0MB",
        "software IO TLB: Memory encryption is active and system is using DMA bounce buffers",
        "software IO TLB: tearing down default memory pool",
        "software IO TLB: No low mem",
        "PCI-DMA: Using software bounce buffering for IO (SWIOTLB)",
        "Placing 64MB software IO TLB between ffff88007bfff000 - ffff88007ffff000",
        "Reserved memory: created restricted DMA pool at 0x00000000c0000000, size 14 MiB",
    ],
)
def test_lines_of_boot_are_no_trouble(text: str) -> None:
    line = read(f"[    0.123456] {text}")
    assert line is not None
    assert line.kind is Kind.BOOT
    assert cause_of(line) is None


def test_of_a_command_line_only_swiotlb_is_kept() -> None:
    line = read("[    0.0] Command line: root=/dev/vda secret=1 swiotlb=262144,force quiet")
    assert line is not None
    assert line.kind is Kind.BOOT
    assert line.text == "command line: swiotlb=262144,force"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("software IO TLB: Failed to allocate new pool", LogCause.POOL_NOT_ADDED),
        ("software IO TLB: SWIOTLB bounce buffer size adjusted 524288 -> 131072 slabs", LogCause.POOL_NOT_MADE),
        ("software IO TLB: swiotlb_init_remap: Failed to allocate 4096 bytes align=0x1000", LogCause.POOL_NOT_MADE),
        ("software IO TLB: Cannot allocate buffer", LogCause.POOL_NOT_MADE),
        ("Cannot allocate SWIOTLB buffer", LogCause.POOL_NOT_MADE),
        ("software IO TLB: only able to allocate 32 MB", LogCause.POOL_NOT_MADE),
        ("Warning: only able to allocate 4 MB for software IO TLB", LogCause.POOL_NOT_MADE),
        ("ata1: Buffer overflow detected. Allocation size: 512. Mapping size: 4096.", LogCause.MISUSE),
        ("hv 1: Buffer overflow detected. Allocation size: 512. Mapping size: 64+512.", LogCause.MISUSE),
        ("e1000 0000:00:03.0: DMA addr 0x0000000123456000+4096 overflow (mask ffffffff, bus limit 0).",
         LogCause.NOT_BOUNCED),
        ("r8169 0000:00:03.0: Cannot do DMA to address 0x0000000123456000", LogCause.NOT_BOUNCED),
        ("nommu_map_sg: overflow 25dcac000+1024 of device mask ffffffff", LogCause.NOT_BOUNCED),
        ("iwlwifi 0000:02:00.0: swiotlb: coherent allocation failed, size=4096", LogCause.UNTOLD),
        ("swiotlb: coherent allocation failed for device 0000:07:00.0 size=2097152", LogCause.TOO_LARGE),
        ("(NULL device *): swiotlb buffer is full (sz: 96 bytes), total 32768 (slots), used 32768 (slots)",
         LogCause.EXHAUSTED),
    ],
)  # fmt: skip
def test_other_lines_of_trouble(text: str, cause: LogCause) -> None:
    verdict = cause_of(_read(f"[   12.345678] {text}"))
    assert verdict is not None
    assert verdict.cause is cause


def test_a_null_device_is_no_device() -> None:
    line = _read("[1.2] (NULL device *): swiotlb buffer is full (sz: 96 bytes), total 512 (slots), used 0 (slots)")
    assert (line.driver, line.device) == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "Last level iTLB entries: 4KB 512, 2MB 512, 4MB 256",
        "HugeTLB: registered 1.00 GiB page size, pre-allocated 0 pages",
        "WARNING: CPU: 0 PID: 1 at kernel/dma/swiotlb.c:928 swiotlb_map+0x2f8/0x308",
        " swiotlb_tbl_map_single+0x1a/0x200",
        "RIP: 0010:swiotlb_tbl_map_single.isra.0+0x1a/0x200",
        "TCP: request_sock_TCP: Possible SYN flooding: overflow",
    ],
)
def test_other_lines_are_none_of_swiotlb(text: str) -> None:
    assert read(f"[   12.345678] {text}") is None


def test_a_line_in_another_wording_is_not_passed_over() -> None:
    assert _read("[   12.3] software IO TLB: something that a later kernel says").kind is Kind.MENTION


def _read(text: str) -> Line:
    line = read(text)
    assert line is not None
    return line


@pytest.mark.parametrize("wording", WORDINGS, ids=lambda wording: wording.pattern.pattern[:40])
def test_no_wording_repeats_without_a_bound(wording: Wording) -> None:
    """A hostile line would make every place in it a beginning, and take the square of its length."""
    assert not re.search(r"(?:\\[wdS]|(?<!\\)[.\])])[*+]", wording.pattern.pattern)
