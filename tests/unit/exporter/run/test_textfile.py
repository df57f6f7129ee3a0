"""Metrics as a file: whole at any time, readable by node_exporter, gone at the end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from swiotlb_exporter.collector import SnapshotCollector
from swiotlb_exporter.run.textfile import NAME, Textfile
from swiotlb_top.errors import CannotError, Exit
from tests.support.prometheus import DEADLINE_S, eventually
from tests.support.snapshots import STALLED, ScriptedSource
from tests.unit.exporter.web.test_server import exporter


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(ScriptedSource([STALLED]).snapshot, is_there=lambda name: True))
    return registry


def test_a_reader_sees_a_whole_file_whenever_it_looks(tmp_path: Path, registry: CollectorRegistry) -> None:
    textfile = Textfile(tmp_path, registry)
    looking = threading.Event()

    def write() -> None:
        while not looking.is_set():
            textfile.write()

    writer = threading.Thread(target=write)
    writer.start()
    pages = [(tmp_path / NAME).read_text() for _ in range(50)]
    looking.set()
    writer.join(DEADLINE_S)
    assert {len(list(text_string_to_metric_families(page))) for page in pages} == {
        len(list(text_string_to_metric_families(pages[0])))
    }


def test_anybody_may_read_it_whatever_the_umask(tmp_path: Path, registry: CollectorRegistry) -> None:
    before = os.umask(0o077)
    try:
        Textfile(tmp_path, registry)
    finally:
        os.umask(before)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o644


def test_node_exporter_finds_no_half_written_file(tmp_path: Path, registry: CollectorRegistry) -> None:
    Textfile(tmp_path, registry)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_directory_that_is_not_there_is_said(tmp_path: Path, registry: CollectorRegistry) -> None:
    with pytest.raises(CannotError, match="absent does not exist: name the directory that node_exporter") as refusal:
        Textfile(tmp_path / "absent", registry)
    assert refusal.value.exit_code is Exit.CANNOT


def test_a_file_in_place_of_a_directory_is_said(tmp_path: Path, registry: CollectorRegistry) -> None:
    file = tmp_path / "hostname"
    file.touch()
    with pytest.raises(CannotError, match="hostname is not a directory: name the directory that"):
        Textfile(file, registry)


def test_a_directory_that_takes_no_file_is_said_under_the_files_name(registry: CollectorRegistry) -> None:
    with pytest.raises(CannotError, match=r"/proc/swiotlb\.prom cannot be written: "):
        Textfile(Path("/proc"), registry)


def test_a_machine_that_cannot_be_watched_says_so_in_the_file(tmp_path: Path) -> None:
    with exporter("--textfile", str(tmp_path), refusal="no BTF"):
        eventually(lambda: 'swiotlb_blind_info{reason="no BTF"} 1.0' in read(tmp_path / NAME))
        assert "swiotlb_up 0.0" in read(tmp_path / NAME)


def read(path: Path) -> str:
    """Empty where it is not there yet."""
    return path.read_text() if path.exists() else ""


def test_the_command_writes_once_an_interval_and_takes_the_file_away(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with exporter("--textfile", str(tmp_path)) as process:
        eventually(lambda: path.exists() and "swiotlb_up 1.0" in path.read_text())
        first = path.stat().st_ino
        eventually(lambda: path.stat().st_ino != first)
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    assert list(tmp_path.iterdir()) == []


def test_its_metrics_do_not_collide_with_node_exporters_own(tmp_path: Path) -> None:
    with exporter("--textfile", str(tmp_path)):
        eventually((tmp_path / NAME).exists)
        page = (tmp_path / NAME).read_text()
    assert {family.name.split("_")[0] for family in text_string_to_metric_families(page)} == {"swiotlb"}
