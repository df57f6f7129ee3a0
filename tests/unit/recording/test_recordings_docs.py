"""docs/recordings.md: its columns and its byte table are the real ones, and its questions have answers."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest

import swiotlb_top
from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from swiotlb_top.recording.rows import TABLES, columns
from swiotlb_top.records import RECORD, RawRecord
from swiotlb_top.trace.format import FrameType
from tests.support.doctoring import FOUR_CPUS, STALL

PAGE = (Path(__file__).parents[3] / "docs" / "recordings.md").read_text()
QUESTIONS = dict(re.findall(r"^### ([^\n]*\?)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))


def block(text: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module", params=[STALL, FOUR_CPUS], ids=lambda path: path.stem)
def recording(request: pytest.FixtureRequest) -> Any:
    return swiotlb_top.open(request.param)


@pytest.fixture(scope="module")
def tables(recording: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tables that the questions are put to."""
    directory = tmp_path_factory.mktemp("tables")
    for table in ("mappings", "failures", "slots"):
        out = directory / f"{table}.parquet"
        assert main(["convert", str(recording.path), "-o", str(out), "--table", table]) == Exit.OK
    return directory


def test_there_are_five_questions() -> None:
    assert len(QUESTIONS) == 5


@pytest.mark.parametrize("question", QUESTIONS)
def test_sql_and_python_give_the_same_answer(question: str, recording: Any, tables: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(config={"file_search_path": str(tables)}) as connection:
        by_sql = connection.execute(block(QUESTIONS[question], "sql")).fetchall()
    names: dict[str, Any] = {"recording": recording}
    exec("from collections import Counter\n" + block(QUESTIONS[question], "python"), names)  # noqa: S102
    assert [tuple(row) for row in names["answer"]] == by_sql
    assert by_sql or recording.path == FOUR_CPUS  # in which no map fails


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_explained_and_none_that_is_not_there(table: str) -> None:
    (text,) = re.findall(rf"^### {table}\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    assert sorted(name for cell in cells for name in re.findall(r"`([^`]+)`", cell)) == sorted(columns(TABLES[table]))


def test_the_byte_table_of_a_record_is_its_layout() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+)-(\d+) \| (u\d+) \|", PAGE, re.MULTILINE)
    at = 0
    expected = []
    for name, code in zip(RawRecord._fields, RECORD.format.removeprefix("<"), strict=True):
        size = struct.calcsize(code)
        expected.append((name, str(at), str(at + size - 1), f"u{8 * size}"))
        at += size
    assert rows == expected


def test_every_type_of_frame_is_named() -> None:
    (line,) = (line for line in PAGE.splitlines() if line.startswith("| frame |"))
    for kind in FrameType:
        assert re.search(rf"\b(?:0x80000001|{int(kind)}) {kind.name.lower().replace('_', ' ')}", line), kind
