"""Which capabilities are missing for probing."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.kernel.privileges import missing_capabilities

SYS_ADMIN, PERFMON, BPF = 1 << 21, 1 << 38, 1 << 39


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        (SYS_ADMIN | PERFMON | BPF, ()),
        (SYS_ADMIN, ()),
        (PERFMON | BPF, ()),
        (BPF, ("CAP_PERFMON",)),
        (PERFMON, ("CAP_BPF",)),
        (0, ("CAP_BPF", "CAP_PERFMON")),
    ],
)
def test_either_set_of_capabilities_does(tmp_path: Path, held: int, missing: tuple[str, ...]) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t{held:016x}\nCapBnd:\tffffffffffffffff\n")
    assert missing_capabilities(status) == missing
