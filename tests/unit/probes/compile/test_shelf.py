"""Compiled programs are kept on disk: taken only for what they were made of, and from nobody but root or oneself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from swiotlb_top.probes.compile.image import Image, MapSpec
from swiotlb_top.probes.compile.shelf import KEPT, Shelf

IMAGE = Image((MapSpec("control", 2, 4, 8, 1, 0),), {"p": bytes(16)})
OTHER = Image((), {"p": bytes(8)})


class Maker:
    """Counts what it makes."""

    def __init__(self, image: Image = IMAGE) -> None:
        self.image = image
        self.made = 0

    def __call__(self) -> Image:
        self.made += 1
        return self.image


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "programs"


def kept(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_what_was_made_once_is_not_made_again(directory: Path) -> None:
    maker = Maker()
    assert [Shelf(directory).image(["source", "flags"], maker) for _ in range(3)] == [IMAGE] * 3
    assert maker.made == 1
    assert kept(directory).stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


def test_of_other_ingredients_it_is_another(directory: Path) -> None:
    Shelf(directory).image(["source", "-DCPUS=1"], Maker())
    assert Shelf(directory).image(["source", "-DCPUS=2"], Maker(OTHER)) == OTHER
    assert Shelf(directory).image(["source-DCPUS=1"], Maker(OTHER)) == OTHER


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:-20])


def damaged(path: Path) -> None:
    path.write_bytes(b"\xff" * 100)


def of_another_shape(path: Path) -> None:
    path.write_text(path.read_text().replace("key_bytes", "key_size"))


def anothers_by_its_name(path: Path) -> None:
    path.write_text("0" * 64 + "\n" + OTHER.packed())


def written_by_anybody(path: Path) -> None:
    path.chmod(0o666)


def of_somebody_else(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 65534, 65534)


def unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "spoil", [cut, damaged, of_another_shape, anothers_by_its_name, written_by_anybody, of_somebody_else, unreadable]
)
def test_what_is_not_as_it_was_put_there_is_made_anew(directory: Path, spoil: Callable[[Path], None]) -> None:
    Shelf(directory).image(["source"], Maker())
    spoil(kept(directory))
    maker = Maker()
    assert Shelf(directory).image(["source"], maker) == IMAGE
    assert maker.made == 1


def test_where_nothing_can_be_kept_all_goes_well_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    maker = Maker()
    shelf = Shelf(tmp_path / "file" / "programs")
    assert [shelf.image(["source"], maker) for _ in range(2)] == [IMAGE] * 2
    assert maker.made == 2


def test_the_latest_used_are_kept(directory: Path) -> None:
    shelf = Shelf(directory)
    shelf.image(["first"], Maker())
    oldest = kept(directory)
    os.utime(oldest, (1, 1))
    for number in range(KEPT):
        shelf.image([str(number)], Maker())
        for path in directory.iterdir():
            if path != oldest and path.stat().st_mtime > 1000:
                os.utime(path, (number + 2, number + 2))
    assert len(list(directory.iterdir())) == KEPT
    assert not oldest.exists()


def test_it_lies_where_caches_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Shelf().image(["source"], Maker())
    assert len(list((tmp_path / "swiotlb-top" / "programs").glob("*.json"))) == 1


def test_what_a_killed_process_left_unfinished_goes_and_what_another_is_writing_stays(directory: Path) -> None:
    directory.mkdir(parents=True)
    abandoned, being_written = directory / "unfinished-abc", directory / "unfinished-def"
    for path in (abandoned, being_written):
        path.write_text("half of an im")
    os.utime(abandoned, (time.time() - 7200, time.time() - 7200))
    Shelf(directory).image(["source"], Maker())
    assert not abandoned.exists()
    assert being_written.exists()


def test_an_image_under_way_is_named_as_unfinished(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    replace = os.replace

    def noting(one: str, other: Path) -> None:
        names.append(Path(one).name)
        replace(one, other)

    monkeypatch.setattr(os, "replace", noting)
    Shelf(directory).image(["source"], Maker())
    assert [name.startswith("unfinished-") for name in names] == [True]


@pytest.mark.parametrize("there", [True, False])
def test_an_account_without_a_home_does_not_get_one(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian gives such accounts /nonexistent, and root could make it."""
    home = tmp_path / "home"
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    if there:
        home.mkdir()
    assert Shelf().image(["a"], Maker()) == IMAGE
    assert (home / ".cache/swiotlb-top/programs").exists() == there
    assert home.exists() == there
