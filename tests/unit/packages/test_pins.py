"""The libraries that are packed: all that the tool requires, in versions that it allows, and no others."""

from __future__ import annotations

from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.packages import pins, tree


def pinned() -> dict[str, str]:
    """Versions by name."""
    return {canonicalize_name(name): version for name, version in (pin.split("==") for pin in pins.pinned())}


def wanted(requirements: list[str], metadata: dict[str, list[str]]) -> dict[str, list[Requirement]]:
    """What is required, and what that requires, by name."""
    needs: dict[str, list[Requirement]] = {}
    todo = [(Requirement(line), {""}) for line in requirements]
    while todo:
        requirement, with_extras = todo.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in with_extras):
            continue
        name = canonicalize_name(requirement.name)
        seen = needs.setdefault(name, [])
        if requirement not in seen:
            seen.append(requirement)
            todo += [(Requirement(line), {"", *requirement.extras}) for line in metadata.get(name, [])]
    return needs


def metadata_in(directory: Path) -> dict[str, list[str]]:
    """What each library in a directory requires."""
    read = [HeaderParser().parsestr(path.read_text()) for path in directory.glob("*.dist-info/METADATA")]
    return {canonicalize_name(told["Name"]): told.get_all("Requires-Dist", []) for told in read}


def test_each_line_is_a_pin() -> None:
    lines = [line for line in pins.PINS.read_text().splitlines() if not line.startswith("#")]
    assert [f"{library} --hash=sha256:{sha256}" for library, sha256 in pins.pinned().items()] == lines


def test_they_are_all_that_is_required_and_no_others(tmp_path: Path) -> None:
    libraries = tmp_path / "modules"
    tree.libraries(libraries)
    needs = wanted(pins.required(), metadata_in(libraries))
    assert needs.keys() == pinned().keys()
    for name, requirements in needs.items():
        assert all(requirement.specifier.contains(pinned()[name]) for requirement in requirements), name
