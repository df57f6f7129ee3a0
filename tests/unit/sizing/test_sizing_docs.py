"""docs/sizing.md shows what the commands print."""

from __future__ import annotations

import locale
import re
from pathlib import Path

import pytest

from swiotlb_top.cli import main

ROOT = Path(__file__).parents[3]
SHOWN = re.findall(
    r"^```console\n\$ (.*?)\n(.*?)^```$", (ROOT / "docs" / "sizing.md").read_text(), re.MULTILINE | re.DOTALL
)


def test_the_page_shows_the_stalled_disk() -> None:
    assert [command for command, _ in SHOWN if "size tests/traces/stall.swtrace" in command]


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_what_the_page_shows_is_what_is_printed(
    command: str, output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(locale, "getencoding", lambda: "UTF-8")
    program, *arguments = command.split()
    main(arguments)
    assert program == "swiotlb-top"
    assert capsys.readouterr().out == output
