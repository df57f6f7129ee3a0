"""What the commands hand to the rooms below, and what they do with the report that comes back."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit


class Report:
    exit_code = Exit.DISAGREE
    damage = ""

    def as_text(self, *, explain: bool = False) -> str:
        return "1 disagrees, explained" if explain else "1 disagrees"

    def as_json(self) -> dict[str, object]:
        return {"disagree": 1}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What each room was asked, in order."""
    calls: list[tuple[object, ...]] = []

    def answer(*arguments: object, limit: object = None, **_: object) -> Report:
        calls.append(arguments if limit is None else (*arguments, limit))
        return Report()

    for module, function in (
        ("recorder", "record"),
        ("reports.replay", "replay"),
        ("reports.explained", "explained"),
        ("reports.doctor", "examine"),
    ):
        room = ModuleType(f"swiotlb_top.{module}")
        setattr(room, function, answer)
        monkeypatch.setitem(sys.modules, room.__name__, room)
    return calls


def test_record_takes_everything_after_the_dashes_as_the_command(asked: list[tuple[object, ...]]) -> None:
    main(["record", "-o", "x.swtrace", "--duration", "2", "--", "dd", "--help", "if=/dev/vda"])
    assert asked == [(Path("x.swtrace"), 2.0, ("dd", "--help", "if=/dev/vda"))]


def test_record_without_a_duration_is_told_so(asked: list[tuple[object, ...]]) -> None:
    main(["record", "-o", "x.swtrace"])
    assert asked == [(Path("x.swtrace"), None, ())]


def test_replay_hands_over_the_revision_and_how_much_to_tell(asked: list[tuple[object, ...]]) -> None:
    main(["replay", "x.swtrace", "--revision", "6.6"])
    main(["replay", "x.swtrace", "--context", "12"])
    assert asked == [(Path("x.swtrace"), "6.6", 3), (Path("x.swtrace"), None, 12)]


@pytest.mark.parametrize("more", [["--explain"], ["--context", "3"]])
def test_what_goes_with_one_revision_does_not_go_with_all(
    asked: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert main(["replay", "x.swtrace", "--revision", "all", *more]) == Exit.USAGE
    assert "--context and --explain go with one revision, and not with --revision all" in capsys.readouterr().err
    assert asked == []


def test_all_revisions_are_another_report(asked: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "x.swtrace", "--revision", "all"]) == 1
    assert capsys.readouterr().out == "1 disagrees\n"
    assert asked == [(Path("x.swtrace"),)]


@pytest.mark.parametrize("context", ["-1", "many"])
def test_a_context_that_is_no_number_of_operations_is_a_usage_error(
    asked: list[tuple[object, ...]], context: str
) -> None:
    assert main(["replay", "x.swtrace", "--context", context]) == Exit.USAGE
    assert asked == []


def test_replay_explains_if_it_is_asked_to(asked: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    main(["replay", "x.swtrace", "--explain"])
    assert capsys.readouterr().out == "1 disagrees, explained\n"
    assert len(asked) == 1


@pytest.mark.parametrize("command", [["replay", "x.swtrace"], ["doctor"]])
@pytest.mark.parametrize(("form", "output"), [([], "1 disagrees\n"), (["--json"], '{"schema": 1, "disagree": 1}\n')])
def test_a_report_is_printed_and_its_exit_status_kept(
    asked: list[tuple[object, ...]],
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    form: list[str],
    output: str,
) -> None:
    assert main([*command, *form]) == 1
    assert capsys.readouterr().out == output
    assert len(asked) == 1


@pytest.mark.parametrize(("form", "output"), [([], "1 disagrees\n"), (["--json"], '{"schema": 1, "disagree": 1}\n')])
def test_damage_goes_to_standard_error_beside_what_could_be_read(
    asked: list[tuple[object, ...]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: list[str],
    output: str,
) -> None:
    monkeypatch.setattr(Report, "damage", "x.swtrace is truncated at byte 77")
    monkeypatch.setattr(Report, "exit_code", Exit.UNREADABLE)
    assert main(["replay", "x.swtrace", *form]) == 4
    said = capsys.readouterr()
    assert said.out == output
    assert said.err == "swiotlb-top: x.swtrace is truncated at byte 77\n"
    assert len(asked) == 1
