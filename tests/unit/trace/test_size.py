"""How small a trace is: promises about bytes a record, on the benchmark's load of virtio-blk and nvme reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bench_trace import record, synthetic_records

RECORDS = 20_000


@pytest.fixture(scope="module")
def load() -> bytes:
    return synthetic_records(RECORDS)


def test_a_recording_takes_a_fifth_of_the_ring_buffer_s_bytes(tmp_path: Path, load: bytes) -> None:
    path = tmp_path / "recorded.swtrace"
    record(path, load)

    assert path.stat().st_size * 5 < len(load)
