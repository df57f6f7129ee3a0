"""What the kernel refuses is an error with a reason, on any machine."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from swiotlb_top.probes.attach import libbpf
from swiotlb_top.probes.attach.libbpf import RefusedError


def test_a_machine_whose_system_calls_are_not_known_gets_no_kprobes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "format").mkdir()
    (tmp_path / "type").write_text("8\n")
    (tmp_path / "format/retprobe").write_text("config:0\n")
    monkeypatch.setattr(libbpf, "_KPROBES", tmp_path)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(RefusedError, match="not attached on riscv64"):
        libbpf.attach_kprobe(-1, "swiotlb_map", at_return=False)
