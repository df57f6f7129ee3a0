"""What a recording's header says of its kernel, read as it was written, and of old recordings as far as they know."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from swiotlb_top.cpus import Cpus
from swiotlb_top.trace import Header, TraceReader
from swiotlb_top.trace.json_payload import header_payload, read_header
from tests.unit.histories import KERNEL
from tests.unit.test_trace_format_1 import RECORDED

HEADER = Header(
    replace(KERNEL, cpus=Cpus.parse("0-3,8-11"), page_size_bytes=65536, byte_order="little"), "1", "CLOCK_MONOTONIC", 1
)


def changed(**kernel: Any) -> bytes:
    fields = json.loads(header_payload(HEADER))
    fields["kernel"] |= kernel
    return json.dumps(fields).encode()


def test_cpu_numbers_page_size_and_byte_order_are_part_of_a_recording() -> None:
    assert read_header(header_payload(HEADER)) == HEADER
    written = json.loads(header_payload(HEADER))["kernel"]
    assert (written["cpu_numbers"], written["cpus"]) == ("0-3,8-11", 12)


def test_an_old_recording_knows_how_many_cpus_were_online_and_nothing_of_pages() -> None:
    kernel = TraceReader(RECORDED).header.kernel
    assert (kernel.cpus.numbers(), kernel.page_size_bytes, kernel.byte_order) == ((0, 1, 2, 3), 0, "")


@pytest.mark.parametrize(
    "kernel",
    [
        {"cpu_numbers": "0-999999999"},
        {"cpu_numbers": "3,1"},
        {"cpu_numbers": 4},
        {"cpu_numbers": "", "cpus": 10**12},
        {"cpu_numbers": "", "cpus": 0},
        {"page_size_bytes": "4096"},
    ],
)
def test_a_header_that_no_kernel_can_have_is_refused(kernel: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"CPU numbers|missing or no|is not within"):
        read_header(changed(**kernel))
