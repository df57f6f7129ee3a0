"""What is made of the commands: the manual page and the shell's completion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swiotlb_top.accounting import fields
from swiotlb_top.cli import main
from swiotlb_top.tui.keys import KEYS, PLAY_KEYS

DEADLINE_S = 300.0
COMMANDS = (
    "check",
    "record",
    "snapshot",
    "info",
    "replay",
    "diff",
    "size",
    "convert",
    "cut",
    "anonymise",
    "export",
    "program build",
    "program show",
    "doctor",
    "why",
)


@pytest.fixture
def page(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["man"]) == 0
    return capsys.readouterr().out


def test_every_command_option_key_and_field_is_in_the_manual(page: str) -> None:
    plain = page.replace("\\-", "-")
    for command in COMMANDS:
        assert f".SS {command}" in plain
    for option in ("--trace FILE", "--source", "--duration SECONDS", "--revision NAME", "--ascii"):
        assert option in plain
    for key in (*KEYS, *PLAY_KEYS):
        assert f"\\fB{key.shown}\\fR\n{key.help}" in plain
    for table in (fields.TOTALS, fields.DEVICES, fields.POOLS, fields.FAILURES):
        for field in table:
            assert f"\\fB{field.title}\\fR" in plain
            assert field.help in plain


def test_the_manual_has_the_sections_people_look_for(page: str) -> None:
    sections = [line.removeprefix(".SH ") for line in page.splitlines() if line.startswith(".SH ")]
    assert sections == [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "KEYS",
        "WORDS",
        "FIELDS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "EXAMPLES",
    ]
    assert page.startswith(".TH SWIOTLB-TOP 1 ")


@pytest.mark.skipif(shutil.which("man") is None, reason="no man here")
def test_man_has_nothing_to_complain_about(page: str, tmp_path: Path) -> None:
    path = tmp_path / "swiotlb-top.1"
    path.write_text(page)
    shown = subprocess.run(
        ["man", "--warnings", "-l", path],
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert shown.stderr == ""
    assert "SWIOTLB-TOP(1)" in shown.stdout


def complete(*words: str) -> list[str]:
    """What bash is offered for the last word."""
    done = subprocess.run(
        [sys.executable, "-m", "swiotlb_top"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "_SWIOTLB_TOP_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("swiotlb-top", *words)),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_and_options_are_completed() -> None:
    assert {"record", "replay"} <= set(complete("re"))
    assert complete("--sou") == ["--source"]
    assert {"info", "convert", "anonymise"} <= set(complete(""))
    assert complete("replay", "--js") == ["--json"]
    assert complete("info", "--js") == ["--json"]
    assert complete("convert", "--tab") == ["--table"]
    assert "parquet" in complete("convert", "--format", "")
    assert complete("anonymise", "--out") == ["--output"]
    assert complete("--source", "l") == ["live"]


def test_the_manual_is_no_command_one_is_offered() -> None:
    assert "man" not in complete("m")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_SWIOTLB_TOP_COMPLETE", f"{shell}_source")
    assert main([]) == 0
    assert "_SWIOTLB_TOP_COMPLETE" in capsys.readouterr().out
