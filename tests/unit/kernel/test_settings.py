"""How a kernel was built and booted, out of the files in which it says so."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from swiotlb_top.kernel import settings

CONFIG = b"""#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_SWIOTLB=y
# CONFIG_SWIOTLB_DYNAMIC is not set
CONFIG_LOCALVERSION=""
CONFIG_CMDLINE="a=b"
"""
OPTIONS = {"SWIOTLB": "y", "LOCALVERSION": '""', "CMDLINE": '"a=b"'}


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_kernel_s_own_configuration_comes_first(tmp_path: Path) -> None:
    own = write(tmp_path / "proc/config.gz", gzip.compress(CONFIG))
    write(tmp_path / "boot/config-6.12.1", b"CONFIG_SWIOTLB=n\n")
    assert settings.build("6.12.1", tmp_path) == settings.Build(own, OPTIONS)


@pytest.mark.parametrize("own", [None, b"", b"no gzip", gzip.compress(CONFIG)[:-12]])
def test_then_what_it_was_installed_with(own: bytes | None, tmp_path: Path) -> None:
    if own is not None:
        write(tmp_path / "proc/config.gz", own)
    installed = write(tmp_path / "boot/config-6.12.1", CONFIG)
    found = settings.build("6.12.1", tmp_path)
    assert found is not None
    assert found == settings.Build(installed, OPTIONS)


def test_another_kernel_s_configuration_is_none(tmp_path: Path) -> None:
    write(tmp_path / "boot/config-6.12.2", CONFIG)
    assert settings.build("6.12.1", tmp_path) is None


def test_a_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    write(tmp_path / "proc/sys/kernel/kptr_restrict", b"1\n")
    assert settings.text("proc/sys/kernel/kptr_restrict", tmp_path) == "1"
    assert settings.text("sys/kernel/security/lockdown", tmp_path) == ""


@pytest.mark.parametrize(
    ("command_line", "words"),
    [
        ("root=/dev/vda quiet", ()),
        ("swiotlb=force", ("force",)),
        ("quiet swiotlb=512,4,force,track_hiwater panic=1", ("512", "4", "force", "track_hiwater")),
        ("swiotlb=512 swiotlb=,,force", ("512", "force")),
        ("xswiotlb=1 swiotlb", ()),
        ("quiet -- swiotlb=force", ()),
    ],
)
def test_what_was_asked_of_swiotlb_at_boot(command_line: str, words: tuple[str, ...]) -> None:
    assert settings.boot_words(command_line) == words


@pytest.mark.parametrize(
    ("shown", "level"),
    [
        ("[none] integrity confidentiality", "none"),
        ("none integrity [confidentiality]", "confidentiality"),
        ("", ""),
    ],
)
def test_the_level_of_lockdown_is_in_brackets(shown: str, level: str) -> None:
    assert settings.lockdown_level(shown) == level
