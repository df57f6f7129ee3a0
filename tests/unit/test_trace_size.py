"""How small a trace is: promises about bytes a record, on the benchmark's load of virtio-blk and nvme reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiotlb_top.records import RECORD, Kind
from swiotlb_top.trace import Codec, compact
from swiotlb_top.trace.codecs import records_payload
from tests.bench.bench_trace import POOL, POOL_START, record, synthetic_records

RECORDS = 20_000


@pytest.fixture(scope="module")
def load() -> bytes:
    return synthetic_records(RECORDS)


def test_a_recording_takes_a_fifth_of_the_ring_buffer_s_bytes(tmp_path: Path, load: bytes) -> None:
    path = tmp_path / "recorded.swtrace"
    record(path, load)

    assert path.stat().st_size * 5 < len(load)


def test_a_compacted_trace_takes_at_most_6_bytes_a_record(tmp_path: Path, load: bytes) -> None:
    recorded, compacted = tmp_path / "recorded.swtrace", tmp_path / "compacted.swtrace"
    record(recorded, load)

    compact(recorded, compacted)

    assert compacted.stat().st_size <= 6 * RECORDS


def test_knowing_where_pools_start_makes_releases_cheaper(load: bytes) -> None:
    known = records_payload(load, Codec.COLUMNS, {POOL: POOL_START})
    unknown = records_payload(load, Codec.COLUMNS, {})

    assert len(known) < 0.9 * len(unknown)


def test_a_pool_added_in_the_block_is_known_from_then_on(load: bytes) -> None:
    added = RECORD.pack(1, 0, 0, Kind.POOL_ADD, 0, 0, POOL, POOL_START, 32768, 0, 4, 8192) + load

    assert len(records_payload(added, Codec.COLUMNS, {})) < 0.9 * len(records_payload(load, Codec.COLUMNS, {}))
