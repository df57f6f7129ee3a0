"""docs/json.md has every key that a command prints, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from swiotlb_top.cli import main
from swiotlb_top.json_schema import SCHEMA
from swiotlb_top.verify import MEANINGS
from tests.kernels import program_of
from tests.support.doctoring import FOUR_AREAS, STALL
from tests.support.logs import KEYS_OF_A_LOG, REPORTED

PAGE = (Path(__file__).parents[3] / "docs" / "json.md").read_text()
FAULTY = min((STALL.parent / "faulty").glob("*.swtrace"))
UNALIGNED = STALL.parent / "unaligned.swtrace"
PADDED = STALL.parent / "faulty" / "no-min-alignment.swtrace"
"""No revision explains it."""

COMMANDS = {
    "swiotlb-top --json": [["--trace", str(STALL), "--start", "3", "-n", "1", "-d", "0", "--json"]],
    "swiotlb-top replay FILE --json": [["replay", str(STALL), "--json"], ["replay", str(FAULTY), "--json"]],
    "swiotlb-top replay FILE --revision all --json": [
        ["replay", str(path), "--revision", "all", "--json"] for path in (FOUR_AREAS, PADDED)
    ],
    "swiotlb-top diff A B --json": [["diff", str(STALL), str(UNALIGNED), "--json"]],
    "swiotlb-top check --json": [["check", "--trace", str(path), "--json"] for path in (STALL, UNALIGNED)],
    "swiotlb-top size FILE... --json": [["size", str(STALL), "--json"], ["size", str(UNALIGNED), "--json"]],
    "swiotlb-top info FILE --json": [["info", str(STALL), "--json"]],
    "swiotlb-top program show FILE --json": [["program", "show", str(program_of("debian")), "--json"]],
    "swiotlb-top doctor --json": [["doctor", "--json"]],
    "swiotlb-top revisions --json": [["revisions", "--json"]],
    "swiotlb-top why --json": [["why", str(REPORTED), "--json"]],
    "swiotlb-top why RECORDING --json": [["why", str(STALL), "--json"]],
}


def section(command: str) -> str:
    (found,) = (part for part in PAGE.split("\n## ") if f"`{command}`" in part.splitlines()[0])
    return found


def documented(command: str) -> set[str]:
    cells = re.findall(r"^\| (`.*?`) \|", section(command), re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}


def keys(value: object, place: str = "") -> Iterator[str]:
    """The dotted names of all that is neither an object nor a list of objects."""
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from keys(member, f"{place}.{name.replace('.', '_')}" if place else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for member in value:
            yield from keys(member, place)
    else:
        yield place


def printed(command: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    found = []
    for arguments in COMMANDS[command]:
        main(arguments)
        found += [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_is_explained_and_none_that_is_not_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    patterns = documented(command)
    objects = printed(command, capsys)
    names = {name for found in objects for name in keys(found)}
    groups = {pattern.split(".")[0] for pattern in patterns}
    unexplained = {name for name in names if not any(fnmatchcase(name, p) for p in patterns) and name not in groups}
    assert not unexplained
    assert {p for p in patterns if not any(fnmatchcase(name, p) for name in names)} <= EMPTY_HERE[command]


def test_every_kind_of_disagreement_is_explained_as_the_page_explains_it() -> None:
    rows = re.findall(r"^\| ([a-z_]+) \| (.*)\. \|$", section("swiotlb-top replay FILE --json"), re.MULTILINE)
    assert [(kind, what.lower()) for kind, what in rows] == [
        (fault.value, what.lower()) for fault, what in MEANINGS.items()
    ]


KEYS_OF_A_DEVICE = (
    "name",
    "driver",
    "known_as",
    "bounces",
    "bounces.reason",
    "bounces.sentence",
    "not_known",
    "limits",
)
EMPTY_HERE = {
    "swiotlb-top --json": {
        "devices.askers.functions",
        "devices.askers.failures",
        *(f"kernel_log.{name}" for name in KEYS_OF_A_LOG),
    },
    "swiotlb-top replay FILE --json": {"inconclusive_because.*"},
    "swiotlb-top replay FILE --revision all --json": {"revisions.inconclusive_because.*"},
    "swiotlb-top diff A B --json": set[str](),
    "swiotlb-top check --json": {"devices.bounces.reason", "devices.bounces.sentence"},
    "swiotlb-top size FILE... --json": set[str](),
    "swiotlb-top info FILE --json": set[str](),
    "swiotlb-top program show FILE --json": set[str](),
    "swiotlb-top doctor --json": {"hooks.*", *(f"devices.{name}" for name in KEYS_OF_A_DEVICE)},
    "swiotlb-top revisions --json": {"kernel.reasons.*.since", "kernel.reasons.*.why"},
    "swiotlb-top why --json": {"suppressed.*"},
    "swiotlb-top why RECORDING --json": set[str](),
}
"""What these recordings and this machine may not have."""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_object_begins_with_the_version_of_its_keys(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for found in printed(command, capsys):
        assert next(iter(found.items())) == ("schema", SCHEMA)
