"""A recording's devices as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swiotlb_top.accounting.device import DeviceAccount
from swiotlb_top.accounting.snapshot import UNKNOWN
from swiotlb_top.recording.rows import Device


def device_rows(devices: Mapping[int, DeviceAccount]) -> Iterator[Device]:
    """One row for each device, in the order in which they appeared."""
    for device in devices.values():
        view, limits = device.view(), device.limits
        introduced = device.mem != 0
        yield Device(
            device=view.name,
            driver=view.driver,
            maps=view.maps,
            map_failures=view.map_failures,
            unmaps=view.unmaps,
            mapped_bytes=view.mapped_bytes,
            unmapped_bytes=view.unmapped_bytes,
            held_slots=view.held_slots if view.held_slots != UNKNOWN else None,
            map_p50_ns=view.map_p50_ns if view.map_p50_ns >= 0 else None,
            map_p99_ns=view.map_p99_ns if view.map_p99_ns >= 0 else None,
            dma_mask=f"{limits.dma_mask:#x}" if introduced else None,
            min_align_mask=f"{limits.min_align_mask:#x}" if introduced else None,
            seg_boundary_mask=f"{limits.seg_boundary_mask:#x}" if introduced else None,
            known_as=view.known_as or None,
        )
