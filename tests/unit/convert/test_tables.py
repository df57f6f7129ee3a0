"""Tables of a recording as CSV, JSON lines and Parquet: what is read back is what ``swiotlb_top.open()`` gives."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import swiotlb_top
from swiotlb_top.convert.parquet import parquet_pieces
from swiotlb_top.convert.text import csv_pieces, json_pieces
from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.recording.rows import TABLES, Failure, Pool, Row, columns
from tests.support.doctoring import FOUR_CPUS, STALL

ODD = [
    Pool('a "word", and\nmore', "", 1, 2, None, None, 3, None, 4, 5),
    Pool(None, "grown", 0, 0, -1, 1 << 62, None, None, 0, 0),
]


def rows_of(table: str, path: Path = STALL) -> Any:
    return getattr(swiotlb_top.open(path), table)()


def typed(cell: str, kind: type) -> object:
    if cell == "":
        return None
    return cell == "true" if kind is bool else kind(cell)


@pytest.mark.parametrize("table", TABLES)
def test_csv_has_the_rows_below_their_names(table: str) -> None:
    rows = rows_of(table)
    text = b"".join(csv_pieces(rows, rows.row)).decode()
    names, *lines = csv.reader(io.StringIO(text))
    assert names == list(columns(TABLES[table]))
    kinds = list(columns(rows.row).values())
    assert [tuple(map(typed, line, kinds)) for line in lines] == [tuple(row) for row in rows]


@pytest.mark.parametrize("table", TABLES)
def test_json_lines_have_the_rows_with_every_column(table: str) -> None:
    rows = rows_of(table)
    lines = b"".join(json_pieces(rows, rows.row)).decode().splitlines()
    assert [json.loads(line) for line in lines] == [row._asdict() for row in rows]


@pytest.mark.parametrize("table", TABLES)
def test_parquet_has_the_rows_with_their_types(table: str, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = rows_of(table, FOUR_CPUS)
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"".join(parquet_pieces(rows, rows.row)))
    with duckdb.connect() as connection:
        found = connection.read_parquet(str(path))
        names = dict(zip(found.columns, map(str, found.types), strict=True))
        assert found.fetchall() == [tuple(row) for row in rows]
    kinds = {int: "BIGINT", str: "VARCHAR", bool: "BOOLEAN"}
    assert names == {name: kinds[kind] for name, kind in columns(rows.row).items()}


def test_a_text_may_hold_anything_and_an_empty_one_is_not_nothing(tmp_path: Path) -> None:
    text = b"".join(csv_pieces(ODD, Pool)).decode()
    assert '"a ""word"", and\nmore","",1,2,,,3,,4,5\n' in text
    assert "\n,grown,0,0,-1,4611686018427387904,,,0,0\n" in text
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "odd.parquet"
    path.write_bytes(b"".join(parquet_pieces(ODD, Pool)))
    with duckdb.connect() as connection:
        assert connection.read_parquet(str(path)).fetchall() == [tuple(row) for row in ODD]


def test_a_number_that_no_table_can_hold_is_told(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    with pytest.raises(UnreadableError):
        list(parquet_pieces([ODD[0]._replace(nslabs=1 << 80)], Pool))


def test_without_duckdb_one_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(CannotError, match=r"not installed; install swiotlb-top\[parquet\], or convert to CSV"):
        list(parquet_pieces([], Failure))


def test_no_address_is_a_number() -> None:
    for row in TABLES.values():
        assert all(kind is str for name, kind in columns(row).items() if name == "pool" or name.endswith("_mask")), row


def test_every_column_has_a_kind_that_all_forms_know() -> None:
    kinds: list[type[Row]] = list(TABLES.values())
    assert {kind for row in kinds for kind in columns(row).values()} == {int, str, bool}
