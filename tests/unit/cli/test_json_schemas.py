"""docs/schemas has what each command prints as JSON: every key, and no value of another type."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from swiotlb_top.accounting.finding import Kind
from swiotlb_top.allocator import Cause
from swiotlb_top.cli import main
from swiotlb_top.json_schema import SCHEMA
from swiotlb_top.kernel_log.watch import KernelLog
from swiotlb_top.recording.rows import TABLES
from swiotlb_top.tui.json_frames import frame_as_json
from tests.kernels import program_of
from tests.support.corpus import path_of
from tests.support.doctoring import FOUR_AREAS, FOUR_CPUS, GROWING, STALL
from tests.support.logs import EARLIER, REPORTED, with_log

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
FAULTY = STALL.parent / "faulty" / "no-min-alignment.swtrace"
EMPTY = STALL.parent / "format-1.swtrace"
RECORDINGS = (STALL, FOUR_CPUS, FOUR_AREAS, FAULTY, path_of("lost-and-told"))
LOGS = (REPORTED, *sorted((REPORTED.parent / "consoles").iterdir()))
COMMANDS: dict[str, list[list[str]]] = {
    "frames": [["--json", "--every", "700ms", "-n", "5", "--trace", str(path)] for path in RECORDINGS],
    "check": [["check", "--json", "--trace", str(path)] for path in (STALL, FOUR_CPUS, FAULTY)],
    "replay": [["replay", "--json", str(path)] for path in RECORDINGS],
    "explained": [["replay", "--revision", "all", "--json", str(path)] for path in (FOUR_AREAS, FAULTY, EMPTY)],
    "diff": [["diff", "--json", str(STALL), str(path)] for path in (STALL, FOUR_CPUS, EMPTY)],
    "info": [["info", "--json", str(path)] for path in RECORDINGS],
    "doctor": [["doctor", "--json"]],
    "program": [["program", "show", "--json", str(program_of("debian"))]],
    "revisions": [["revisions", "--json"]],
    "size": [["size", "--json", *map(str, (STALL, FOUR_CPUS))], ["size", "--json", "--static", str(GROWING)]],
    "why": [["why", "--json", str(path)] for path in LOGS],
    "why-recording": [["why", "--json", str(path)] for path in (STALL, FOUR_CPUS, EMPTY)],
}


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.json").read_text())


def strict(part: Any) -> Any:
    """The same schema, where no key may be added: one that is new has to be told there, too."""
    if isinstance(part, list):
        return [strict(one) for one in part]
    if not isinstance(part, dict):
        return part
    found = {name: strict(one) for name, one in part.items()}
    if "properties" in part and isinstance(part.get("required"), list):
        found.setdefault("additionalProperties", False)
    return found


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[Any]:
    main(arguments)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_there_is_a_schema_for_each_command_and_for_tables() -> None:
    assert {path.stem for path in SCHEMAS.iterdir()} == {*COMMANDS, "rows"}


def words(part: Any) -> list[list[str]]:
    """Every list of words of which a value is one."""
    inside = (
        [one for each in (part.values() if isinstance(part, dict) else part) for one in words(each)]
        if isinstance(part, dict | list)
        else []
    )
    return [*inside, part["enum"]] if isinstance(part, dict) and isinstance(part.get("enum"), list) else inside


@pytest.mark.parametrize("table", [Cause, Kind])
def test_a_cause_and_what_is_found_is_one_of_all_the_words_that_there_are(table: type[Cause | Kind]) -> None:
    known = [one.value for one in table]
    told = [one for name in COMMANDS for one in words(schema(name)) if set(known[-2:]) <= set(one)]
    assert told
    assert all(one == known for one in told)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed_fits_its_schema_to_the_key(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    validator = jsonschema.Draft202012Validator(strict(schema(name)))
    for arguments in COMMANDS[name]:
        objects = printed(arguments, capsys)
        assert objects
        for one in objects:
            validator.validate(one)


@pytest.mark.parametrize("log", [EARLIER, KernelLog(), KernelLog(unreadable="not permitted")])
def test_a_frame_of_a_kernel_that_runs_has_its_log(log: KernelLog) -> None:
    told = json.loads(json.dumps(frame_as_json(with_log(log))))
    assert told["kernel_log"]
    jsonschema.Draft202012Validator(strict(schema("frames"))).validate(told)


@pytest.mark.parametrize("table", TABLES)
def test_lines_of_a_table_fit_the_schema_of_rows(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = schema("rows")
    validator = jsonschema.Draft202012Validator(strict({**rows["$defs"][table], "$defs": rows["$defs"]}))
    for path in (STALL, FOUR_CPUS, path_of("lost-and-told")):
        for line in printed(["convert", str(path), "-o", "-", "--format", "jsonl", "--table", table], capsys)[:400]:
            validator.validate(line)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_version_is_the_one_that_is_printed(name: str) -> None:
    assert schema(name)["properties"]["schema"] == {"const": SCHEMA}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("verdict"),
        lambda told: told.update(verdict=7),
        lambda told: told.update(new=1),
        lambda told: told["devices"][0].pop("driver"),
        lambda told: told["devices"][0].update(new=1),
        lambda told: told["map_failures_by_cause"].update(exhausted="521"),
        lambda told: told.update(schema=2),
    ],
)
def test_a_key_that_is_gone_new_or_of_another_type_is_noticed(spoil: Any, capsys: pytest.CaptureFixture[str]) -> None:
    validator = jsonschema.Draft202012Validator(strict(schema("replay")))
    (told,) = printed(["replay", "--json", str(STALL)], capsys)
    validator.validate(copy.deepcopy(told))
    spoil(told)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(told)
