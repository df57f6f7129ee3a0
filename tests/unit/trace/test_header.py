"""What a recording's header says of its kernel, read as it was written, and of old recordings as far as they know."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from swiotlb_top.cpus import Cpus
from swiotlb_top.probes.compile import plan
from swiotlb_top.state import HookPlace, How
from swiotlb_top.trace import Header, TraceReader
from swiotlb_top.trace.json_payload import header_payload, read_header
from tests.kernels import KERNELS, layout_of
from tests.support.histories import KERNEL
from tests.unit.trace.test_format_1 import RECORDED

HEADER = Header(
    replace(KERNEL, cpus=Cpus.parse("0-3,8-11"), page_size_bytes=65536, byte_order="little", version="#1 SMP Debian"),
    "1",
    "CLOCK_MONOTONIC",
    1,
)

HOOKS = (
    HookPlace("find_slots", How.DERIVED, derived_from="map", refusal="fentry: busy; kprobe: no (refused: again)"),
    HookPlace("map", How.FENTRY, "fentry+fexit", "swiotlb_tbl_map_single"),
    HookPlace("unmap", How.KPROBE, "kprobe+kretprobe", "__swiotlb_tbl_unmap_single", refusal="fentry: busy"),
    HookPlace("grow", How.ABSENT, lost="growth is not seen", refusal="fentry: busy"),
    HookPlace("alloc_pool", How.KPROBE, "kretprobe", "swiotlb_alloc_pool.isra.0"),
    HookPlace("free_pool", How.FENTRY, "fentry", "swiotlb_dyn_free"),
    HookPlace("device_init", How.ABSENT),
)


def changed(**kernel: Any) -> bytes:
    fields = json.loads(header_payload(HEADER))
    fields["kernel"] |= kernel
    return json.dumps(fields).encode()


def test_cpu_numbers_page_size_byte_order_and_version_are_part_of_a_recording() -> None:
    assert read_header(header_payload(HEADER)) == HEADER
    written = json.loads(header_payload(HEADER))["kernel"]
    assert (written["cpu_numbers"], written["cpus"]) == ("0-3,8-11", 12)


def test_host_and_both_clocks_are_part_of_a_recording_and_not_of_an_old_one() -> None:
    header = replace(HEADER, host="node\x1b7", started_monotonic_ns=5)
    assert read_header(header_payload(header)) == replace(header, host="node?7")
    old = TraceReader(RECORDED).header
    assert (old.host, old.started_monotonic_ns, old.anonymised) == ("", 0, False)


def test_an_old_recording_knows_how_many_cpus_were_online_and_nothing_of_pages() -> None:
    kernel = TraceReader(RECORDED).header.kernel
    assert (kernel.cpus.numbers(), kernel.page_size_bytes, kernel.byte_order) == ((0, 1, 2, 3), 0, "")
    assert kernel.version == ""


@pytest.mark.parametrize(
    "kernel",
    [
        {"cpu_numbers": "0-999999999"},
        {"cpu_numbers": "3,1"},
        {"cpu_numbers": 4},
        {"cpu_numbers": "", "cpus": 10**12},
        {"cpu_numbers": "", "cpus": 0},
        {"page_size_bytes": "4096"},
        {"version": 6},
    ],
)
def test_a_header_that_no_kernel_can_have_is_refused(kernel: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"CPU numbers|missing or no|is not within"):
        read_header(changed(**kernel))


def test_where_each_hook_was_is_part_of_a_recording() -> None:
    header = replace(HEADER, kernel=replace(HEADER.kernel, hooks=HOOKS))
    assert read_header(header_payload(header)) == header


def test_of_an_old_recording_the_words_say_where_each_hook_was() -> None:
    payload = changed(hooks=[(place.name, str(place)) for place in HOOKS], hook_places=[])
    assert read_header(payload).kernel.hooks == HOOKS
    (found,) = read_header(changed(hooks=[("find_slots", "derived")], hook_places=[])).kernel.hooks
    assert (found.how, str(found)) == (How.DERIVED, "derived")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("prefer", [How.FENTRY, How.KPROBE], ids=lambda how: how.value)
def test_the_words_for_every_recorded_kernel_s_plan_are_understood(kernel: str, prefer: How) -> None:
    places = plan.make(layout_of(kernel), kprobes=True, prefer=prefer).places()
    assert read_header(changed(hooks=[(place.name, str(place)) for place in places])).kernel.hooks == places


def test_a_newer_recording_may_say_more_of_a_hook() -> None:
    said = {"name": "unmap", "how": "fentry", "probes": "fentry+fexit", "symbol": "f", "since": "today"}
    assert read_header(changed(hook_places=[said])).kernel.hooks == (
        HookPlace("unmap", How.FENTRY, "fentry+fexit", "f"),
    )


@pytest.mark.parametrize(
    "kernel",
    [
        {"hooks": [("unmap", "not attached")]},
        {"hooks": [("unmap", "fentry f (refused: busy")]},
        {"hooks": [("unmap", "absent: \x1b[2J")]},
        {"hooks": ["unmap"]},
        {"hook_places": [{"name": "unmap"}]},
        {"hook_places": [{"name": "unmap", "how": "not attached"}]},
        {"hook_places": [{"name": "unmap", "how": "absent", "lost": 1}]},
        {"hook_places": [{"name": "unmap", "how": "absent", "lost": "\x1b[2J"}]},
        {"hook_places": [["unmap", "derived"]]},
    ],
)
def test_a_place_that_no_hook_has_is_refused(kernel: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"hooks|hook_places"):
        read_header(changed(**kernel))
