"""Which emulator's panics are its own."""

from __future__ import annotations

import pytest

from tests.lab.harness import accelerator
from tests.lab.harness.architectures import AMD64


@pytest.mark.parametrize(
    ("version", "how", "cpus", "stale"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", "tcg", 4, True),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", "tcg", 1, False),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", "tcg in turn", 4, False),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", "kvm", 4, False),
        ("QEMU emulator version 8.1.0", "tcg", 4, False),
        ("QEMU emulator version 10.0.2", "tcg", 4, False),
    ],
)
def test_code_is_kept_that_another_cpu_has_written_by_a_thread_for_each_before_8_1(
    monkeypatch: pytest.MonkeyPatch, version: str, how: str, cpus: int, stale: bool
) -> None:
    monkeypatch.setattr(accelerator, "output_of", lambda *_: version)
    assert accelerator.keeps_stale_code(how, cpus, AMD64) is stale
