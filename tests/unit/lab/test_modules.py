"""Modules in the order in which they can be loaded, found without depmod."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from tests.lab.harness.modules import dependencies, in_load_order


def module(*needs: str) -> bytes:
    """As much of a module as counts here: its .modinfo section among other bytes."""
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(needs).encode() + b"\0retpoline=Y\0intree=Y\0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A lib/modules/<release> with dashes in file names, and compressed and plain files."""
    (tmp_path / "kernel/fs/9p").mkdir(parents=True)
    (tmp_path / "kernel/net").mkdir()
    (tmp_path / "kernel/fs/9p/9p.ko.xz").write_bytes(lzma.compress(module("netfs", "9pnet")))
    (tmp_path / "kernel/fs/netfs.ko").write_bytes(module())
    (tmp_path / "kernel/net/9pnet.ko.xz").write_bytes(lzma.compress(module("netfs")))
    (tmp_path / "kernel/net/9pnet_virtio.ko").write_bytes(module("9pnet"))
    (tmp_path / "kernel/nvme-core.ko.xz").write_bytes(lzma.compress(module()))
    (tmp_path / "kernel/nvme.ko.xz").write_bytes(lzma.compress(module("nvme-core")))
    return tmp_path


def test_what_a_module_needs_is_read_from_the_module() -> None:
    assert dependencies(module("netfs", "9pnet")) == ("netfs", "9pnet")
    assert dependencies(module()) == ()


def test_every_module_comes_after_those_it_needs_and_only_once(tree: Path) -> None:
    assert list(in_load_order(tree, ["9p", "9pnet_virtio"])) == ["netfs", "9pnet", "9p", "9pnet_virtio"]


def test_a_dash_in_the_file_name_is_an_underscore_in_the_module(tree: Path) -> None:
    assert list(in_load_order(tree, ["nvme"])) == ["nvme_core", "nvme"]


def test_compressed_modules_come_out_uncompressed(tree: Path) -> None:
    assert in_load_order(tree, ["9p"])["9p"] == module("netfs", "9pnet")


def test_a_module_that_is_not_there_is_named(tree: Path) -> None:
    with pytest.raises(KeyError, match="virtio_blk"):
        in_load_order(tree, ["9p", "virtio_blk"])
