"""``swiotlb-top convert``: what it writes where, and how it ends."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from swiotlb_top.cli import convert as command
from swiotlb_top.cli import main
from swiotlb_top.convert.formats import FORMATS
from swiotlb_top.errors import Exit
from swiotlb_top.recording.rows import TABLES
from swiotlb_top.trace.partial_file import PartialFile
from tests.support.doctoring import FOUR_CPUS, STALL

HOSTILE = sorted((STALL.parent / "hostile").glob("*.swtrace"))
ENDINGS = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet", "perfetto": ".pftrace"}


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_the_command_line_offers_what_there_is() -> None:
    assert set(command._FORMATS) == set(FORMATS) == set(ENDINGS)
    assert tuple(TABLES) == command._TABLES


@pytest.mark.parametrize("form", ENDINGS)
def test_the_same_recording_gives_the_same_bytes_and_the_ending_says_which(form: str, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("duckdb")
    one, other = tmp_path / f"one{ENDINGS[form]}", tmp_path / "other"
    assert main(["convert", str(FOUR_CPUS), "-o", str(one)]) == Exit.OK
    assert main(["convert", str(FOUR_CPUS), "-o", str(other), "--format", form]) == Exit.OK
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [one, other]


@pytest.mark.parametrize("table", TABLES)
def test_standard_output_gets_the_table_that_is_asked_for(
    table: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["convert", str(STALL), "-o", "-", "--format", "jsonl", "--table", table]) == Exit.OK
    lines = capsysbinary.readouterr().out.splitlines()
    assert list(json.loads(lines[0])) == list(TABLES[table]._fields)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "x.xls"], "x.xls does not end in one of .csv"),
        (["-o", "-"], "standard output has no ending: give --format"),
        (["-o", "x.pftrace", "--table", "pools"], "--table goes with csv, jsonl, parquet"),
        (["-o", "x.csv", "--revision", "6.66"], "there is no revision '6.66'"),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error_and_leaves_nothing(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(STALL), *arguments]) == Exit.USAGE
    assert says in complaint(capsys)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_not_replaced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "there.csv"
    path.write_text("mine")
    assert main(["convert", str(STALL), "-o", str(path)]) == Exit.CANNOT
    assert f"{path} exists" in complaint(capsys)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("path", ["/", "."])
def test_a_directory_is_no_file_to_write(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(STALL), "-o", path, "--format", "csv", "--unjudged"]) == Exit.CANNOT
    assert "is a directory; name a file in it" in complaint(capsys)


def test_a_full_disk_is_told_and_nothing_is_left(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PartialFile.write
    room = [100_000]

    def until_full(file: PartialFile, data: bytes) -> None:
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, data)

    monkeypatch.setattr(PartialFile, "write", until_full)
    assert main(["convert", str(STALL), "-o", str(tmp_path / "x.csv")]) == Exit.CANNOT
    assert "No space left on device" in complaint(capsys)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: PartialFile, __: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PartialFile, "write", interrupt)
    assert main(["convert", str(STALL), "-o", str(tmp_path / "x.csv")]) == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["csv", "jsonl", "perfetto"])
def test_of_a_cut_recording_what_comes_before_is_written_and_the_status_is_4(
    form: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cut, whole, part = tmp_path / "cut.swtrace", tmp_path / "whole", tmp_path / "part"
    cut.write_bytes(STALL.read_bytes()[:-10])
    assert main(["convert", str(STALL), "-o", str(whole), "--format", form, "--unjudged"]) == Exit.OK
    capsys.readouterr()
    assert main(["convert", str(cut), "-o", str(part), "--format", form, "--unjudged"]) == Exit.UNREADABLE
    assert "truncated" in complaint(capsys)
    assert part.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("form", ["csv", "perfetto"])
@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_a_hostile_recording_is_told_in_one_line(
    path: Path, form: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = main(["convert", str(path), "-o", str(tmp_path / "out"), "--format", form, "--unjudged"])
    assert status in (Exit.OK, Exit.UNREADABLE)
    assert capsys.readouterr().err.count("\n") == (status == Exit.UNREADABLE)
