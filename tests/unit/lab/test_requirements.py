"""One message that names all there is to install."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.harness import build, sources
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.kernels import DYNAMIC
from tests.lab.harness.requirements import TO_BUILD, TO_RUN, output_of, require


def test_what_is_there_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flex", "bison"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    require({"flex": "flex", "bison": "bison", str(tmp_path / "flex"): "a-header"})
    with pytest.raises(LabUnavailableError, match=r"apt-get install a-header bc$"):
        require({"flex": "flex", "bc": "bc"}, {str(tmp_path / "none.h"): "a-header"})


def test_without_the_kernels_source_everything_missing_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sources, "INSTALLED", tmp_path)
    with pytest.raises(LabUnavailableError) as missing:
        build.tree_inputs(DYNAMIC)
    programs = {package for table in (TO_RUN, TO_BUILD) for name, package in table.items() if not name.startswith("/")}
    assert {DYNAMIC.source_package, *programs} <= set(str(missing.value).split())


def test_another_distribution_is_told_that_it_is_one() -> None:
    with pytest.raises(LabUnavailableError, match=r"no such-dpkg here"):
        output_of("such-dpkg", "-W")


def test_a_command_that_fails_is_named_with_its_complaint() -> None:
    with pytest.raises(LabUnavailableError, match=r"no/such/file: .*No such file"):
        output_of("ls", os.fspath(Path("no/such/file")))
