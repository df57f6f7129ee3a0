"""Recordings at URLs, and a cluster that sizes them: the same answers as here, and one line where that cannot be."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from tests.support.doctoring import FOUR_CPUS, STALL


def sized(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    main(["size", "--json", *arguments])
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


def refused(capsys: pytest.CaptureFixture[str], status: Exit, *arguments: str) -> str:
    assert main(["size", *arguments]) == status
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    return said.err


def without_names(told: Any) -> Any:
    told["worst"] = ""
    for recording in told["recordings"]:
        recording["file"] = ""
    return told


# ---- URLs ------------------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; afterwards there is none."""
    pytest.importorskip("fsspec", reason="fsspec, of the extra remote, is not installed")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("scratch")
def test_a_url_is_sized_like_a_file_and_called_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"file://{STALL}"
    told = sized(capsys, url)
    assert (told["worst"], told["recordings"][0]["file"]) == (url, url)
    assert without_names(told) == without_names(sized(capsys, str(STALL)))


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///nonexistent/a.swtrace", "file:///nonexistent/a.swtrace cannot be read: "),
        ("nonsense://a/b", "nonsense://a/b cannot be read: "),
        (f"file://{Path(__file__)}", f"file://{Path(__file__)} is not a swiotlb-top trace"),
    ],
)
def test_a_url_that_cannot_be_read_is_one_line_that_names_it(
    url: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, Exit.UNREADABLE, url).startswith(f"swiotlb-top: {says}")


def test_what_is_damaged_at_a_url_is_told_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fsspec", reason="fsspec, of the extra remote, is not installed")
    torn = tmp_path / "torn.swtrace"
    torn.write_bytes(STALL.read_bytes()[:-200])
    assert main(["size", "--json", f"file://{torn}"]) == Exit.UNREADABLE
    assert capsys.readouterr().err.startswith(f"swiotlb-top: file://{torn} is truncated")


def test_without_fsspec_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert refused(capsys, Exit.CANNOT, "s3://there/a.swtrace") == (
        "swiotlb-top: s3://there/a.swtrace needs fsspec, which is not installed; "
        "install swiotlb-top[remote], or copy the file here\n"
    )


# ---- a cluster ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster on this machine, whose one worker is a process of its own."""
    distributed = pytest.importorskip("distributed", reason="distributed, of the extra dask, is not installed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_gives_the_same_answer_as_this_machine(scheduler: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(STALL), str(FOUR_CPUS)]
    assert sized(capsys, *files, "--dask", scheduler) == sized(capsys, *files)


def test_names_are_relative_to_where_the_command_is_given(
    scheduler: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(STALL.parent)
    assert sized(capsys, STALL.name, "--dask", scheduler)["worst"] == STALL.name


def test_what_a_worker_cannot_read_is_said_as_here(scheduler: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, Exit.UNREADABLE, str(STALL), "/nonexistent/a.swtrace", "--dask", scheduler)
    assert said.startswith("swiotlb-top: /nonexistent/a.swtrace does not exist")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://127.0.0.1:1", "tcp://[::1]:1"])
def test_where_no_scheduler_answers_it_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="distributed, of the extra dask, is not installed")
    monkeypatch.setattr("swiotlb_top.sizing.cluster.CONNECT_S", 0.5)
    said = refused(capsys, Exit.CANNOT, str(STALL), "--dask", address)
    assert f"no Dask scheduler answers at {address}" in said


@pytest.mark.parametrize(
    "address", ["", "1", "there", "there:8786", "tcp://there", "tcp://there:8786 x", "tcp://:8786"]
)
def test_what_is_no_address_is_a_usage_error(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no address of a scheduler" in refused(capsys, Exit.USAGE, str(STALL), "--dask", address)


def test_without_dask_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert refused(capsys, Exit.CANNOT, str(STALL), "--dask", "tcp://there:8786") == (
        "swiotlb-top: --dask needs Dask, which is not installed; install swiotlb-top[dask]\n"
    )


def test_this_machine_is_sized_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--dask goes with recordings" in refused(capsys, Exit.USAGE, "--live", "--dask", "tcp://there:8786")
