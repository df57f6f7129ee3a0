"""The bill of materials: valid, the libraries that are pinned and no others, and what each requires."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tools.packages import pins, sbom, tree


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.built(tmp_path_factory.mktemp("built"))[1]


@pytest.fixture(scope="module")
def written(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return sbom.make(wheel, tmp_path_factory.mktemp("sbom")).read_text()


@pytest.fixture(scope="module")
def bill(written: str) -> Any:
    return json.loads(written)


def test_it_is_valid(written: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.from_version(sbom.SPECIFICATION))
    assert validator.validate_str(written) is None
    assert validator.validate_str(written.replace('"components"', '"parts"')) is not None


def test_it_is_of_this_version(bill: Any) -> None:
    of = bill["metadata"]["component"]
    assert (of["type"], of["name"], of["version"]) == ("application", "swiotlb-top", tree.version())
    assert bill["metadata"]["timestamp"] == tree.day().isoformat()


def test_it_lists_the_pinned_libraries_with_the_hashes_of_their_wheels(bill: Any) -> None:
    listed = {
        f"{component['name'].lower()}=={component['version']}": component["hashes"] for component in bill["components"]
    }
    assert listed == {pin: [{"alg": "SHA-256", "content": sha256}] for pin, sha256 in pins.pinned().items()}


def test_each_has_a_licence_and_a_name_that_scanners_look_up(bill: Any) -> None:
    for component in bill["components"]:
        assert component["licenses"], component["name"]
        name = component["name"].lower().replace("_", "-")
        assert component["purl"] == f"pkg:pypi/{name}@{component['version']}"


def test_it_says_why_each_is_there(bill: Any) -> None:
    requires = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    reached, todo = set(), [bill["metadata"]["component"]["bom-ref"]]
    while todo:
        reached.add(ref := todo.pop())
        todo += [needed for needed in requires[ref] if needed not in reached]
    assert reached == requires.keys()
    assert len(reached) == len(pins.pinned()) + 1


def test_the_same_tree_makes_the_same_bytes(wheel: Path, written: str, tmp_path: Path) -> None:
    assert sbom.make(wheel, tmp_path).read_text() == written
