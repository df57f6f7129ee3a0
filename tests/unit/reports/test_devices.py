"""The doctor on the devices that people know by a name: why their mappings bounce."""

from __future__ import annotations

import json
from dataclasses import replace

from swiotlb_top.errors import Exit
from swiotlb_top.kernel.around import Around, Present
from swiotlb_top.reports.doctor import Attached, judge
from tests.unit.reports.test_doctor import PLAN, STATE, WELL

DISK = Present("0000:00:04.0", "virtio-pci", "vda", Around(asked_for=True, translated=False, maps=True))


def test_the_devices_that_people_know_are_told_and_why_they_bounce() -> None:
    report = judge(replace(WELL, devices=(DISK,)))
    assert report.exit_code is Exit.OK
    (line,) = (line for line in report.as_text().splitlines() if line.startswith("device "))
    assert line.split(maxsplit=2)[1:] == [
        "0000:00:04.0",
        "vda (virtio-pci): every mapping bounces: the kernel was booted with swiotlb=force",
    ]
    (device,) = json.loads(json.dumps(report.as_json()))["devices"]
    assert (device["known_as"], [told["reason"] for told in device["bounces"]]) == ("vda", ["asked_for"])
    assert device["limits"] is None


def test_what_the_allocator_does_not_force_is_not_said_to_be_forced() -> None:
    unforced = Attached(PLAN, replace(STATE, force_bounce=0))
    (device,) = judge(replace(WELL, attached=unforced, devices=(DISK,))).devices
    assert "swiotlb=force" not in device.bounces


def test_where_swiotlb_has_no_memory_no_device_is_said_to_bounce() -> None:
    assert judge(replace(WELL, attached=Attached(PLAN, replace(STATE, nslabs=0)), devices=(DISK,))).devices == ()


def test_of_many_devices_twenty_are_on_the_page_and_all_in_json() -> None:
    report = judge(replace(WELL, devices=(DISK,) * 23))
    text = report.as_text()
    assert text.count("\ndevice ") == 21
    assert text.endswith("3 more: --json has all")
    assert len(report.as_json()["devices"]) == 23  # type: ignore[arg-type]
