"""Options of the exporter that the environment sets: by a name that the option has, heard unless it is said anew."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from swiotlb_top.cli import main
from swiotlb_top.cli.export import export
from swiotlb_top.cli.options import strays, variable
from swiotlb_top.errors import Exit
from tests.support.served import DEADLINE_S
from tests.unit.exporter.web.test_server import announced, exporter, get

PREFIX = "SWIOTLB_TOP_EXPORT_"


def options() -> dict[str, click.Option]:
    return {max(one.opts, key=len): one for one in export.params if isinstance(one, click.Option)}


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--web.listen-address", "WEB_LISTEN_ADDRESS"),
        ("--web.config.file", "WEB_CONFIG_FILE"),
        ("--log.format", "LOG_FORMAT"),
        ("--interval", "INTERVAL"),
        ("--exit-if-blind", "EXIT_IF_BLIND"),
        ("--output", "OUTPUT"),
    ],
)
def test_the_name_is_that_of_the_option(option: str, name: str) -> None:
    assert variable(export, options()[option]) == PREFIX + name


def test_each_option_has_one_and_the_help_says_how_it_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert [option.envvar for option in options().values()] == [variable(export, one) for one in options().values()]
    assert main(["export", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{PREFIX}WEB_LISTEN_ADDRESS is --web.listen-address" in said


def test_what_the_environment_says_is_done() -> None:
    with exporter(
        SWIOTLB_TOP_EXPORT_WEB_LISTEN_ADDRESS="127.0.0.1:0 127.0.0.2:0", SWIOTLB_TOP_EXPORT_LOG_FORMAT="logfmt"
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        assert line.startswith("time=")
        urls = re.findall(r"http://[^, \"]+", line)
        assert [url.rpartition(":")[0] for url in urls] == ["http://127.0.0.1", "http://127.0.0.2"]
        for url in urls:
            assert "swiotlb_up 1.0" in get(url)[2]


def test_what_the_command_line_says_is_heard_first() -> None:
    with exporter("--web.listen-address", "127.0.0.1:0", SWIOTLB_TOP_EXPORT_WEB_LISTEN_ADDRESS="nowhere") as process:
        assert get(announced(process))[0] == 200
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_a_value_that_is_wrong_is_a_usage_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{PREFIX}INTERVAL", "soon")
    assert main(["export"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert f"(so says the environment variable {PREFIX}INTERVAL)" in said
    assert "'soon' is no time" in said
    assert said.count("\n") == 1
    assert main(["export", "--interval", "later"]) == Exit.USAGE
    assert PREFIX not in capsys.readouterr().err


def test_what_excludes_each_other_does_so_wherever_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{PREFIX}WEB_LISTEN_ADDRESS", ":9788")
    assert main(["export", "--textfile", str(tmp_path)]) == Exit.USAGE
    assert "--textfile and --web.listen-address exclude each other" in capsys.readouterr().err


def test_a_name_that_is_mistyped_is_said(tmp_path: Path) -> None:
    assert strays(export, {f"{PREFIX}INTERVALL": "1", f"{PREFIX}INTERVAL": "1", "SWIOTLB_TOP_TRACEBACK": "f"}) == [
        f"{PREFIX}INTERVALL"
    ]
    with exporter("--trace", str(tmp_path / "none"), SWIOTLB_TOP_EXPORT_INTERVALL="1") as process:
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == Exit.UNREADABLE
    assert said.decode().splitlines()[0] == (
        "swiotlb-top: the environment variable SWIOTLB_TOP_EXPORT_INTERVALL sets no option; "
        "see swiotlb-top export --help"
    )
