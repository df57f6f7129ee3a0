"""The chart as SVG: what it shows, and where it goes."""

from __future__ import annotations

import xml.dom.minidom
from collections.abc import Iterator
from pathlib import Path

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from swiotlb_top.sizing.chart import Bar
from swiotlb_top.sizing.svg import svg
from tests.support.doctoring import STALL

BARS = [
    Bar(512, None, None, False),
    Bar(1024, 40, 2048, False),
    Bar(2048, 1, 1030, False),
    Bar(4096, 0, 1024, True),
]


def elements(picture: str, kind: str) -> Iterator[xml.dom.minidom.Element]:
    return iter(xml.dom.minidom.parseString(picture).getElementsByTagName(kind))  # noqa: S318 (written by this test)


def texts(picture: str) -> list[str]:
    return [
        "".join(part.data for part in node.childNodes if part.nodeType == part.TEXT_NODE)
        for node in elements(picture, "text")
    ]


def widths(picture: str, kind: str) -> list[int]:
    rects = elements(picture, "rect")
    return [int(rect.getAttribute("width")) for rect in rects if rect.getAttribute("class") == kind]


def test_it_says_of_each_size_what_is_known() -> None:
    assert texts(svg(BARS, "disk.swtrace")) == [
        "disk.swtrace", "failures", "peak, of the pool",
        "1 MiB", "at least 1", "not known",
        "2 MiB", "40", "200 %",
        "4 MiB", "1", "50.3 %",
        "> 8 MiB", "0", "25 %",
    ]  # fmt: skip


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    picture = svg(BARS, "")
    assert widths(picture, "failures") == [210, 5]
    assert (widths(picture, "over"), widths(picture, "peak")) == ([210], [106, 53])


def test_a_name_of_a_stranger_is_text_and_nothing_else() -> None:
    picture = svg(BARS, '</title><script>alert("1")</script>\x1b[2J&')
    assert texts(picture)[0] == '</title><script>alert("1")</script>?[2J&'
    assert "<script" not in picture


def test_it_is_written_beside_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sizes.svg"
    assert main(["size", str(STALL), "--svg", str(path)]) == Exit.INCONCLUSIVE
    assert "boot with at least swiotlb=512,1" in capsys.readouterr().out
    assert texts(path.read_text())[:2] == ["stall.swtrace", "failures"]
    assert "&gt; 1 MiB" in path.read_text()


def test_on_standard_output_there_is_nothing_else(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["size", str(STALL), "--svg", "-"]) == Exit.INCONCLUSIVE
    said = capfdbinary.readouterr()
    assert said.err == b""
    assert texts(said.out.decode())[0] == "stall.swtrace"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--svg", "there.svg"], Exit.CANNOT, "there.svg exists"),
        (["--svg", "missing/a.svg"], Exit.CANNOT, "is no directory: make it first"),
        (["--svg", "-", "--json"], Exit.USAGE, "--svg - is all of the output"),
        (["--svg", "-", "--chart"], Exit.USAGE, "--svg - is all of the output"),
        (["--svg", ""], Exit.USAGE, "the name of a file is needed"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_read(
    arguments: list[str],
    status: Exit,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.svg").write_text("precious")
    assert main(["size", "no-such.swtrace", *arguments]) == status
    said = capsys.readouterr()
    assert says in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert (tmp_path / "there.svg").read_text() == "precious"
