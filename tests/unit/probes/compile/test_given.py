"""Programs in a file are loaded for the kernel and the tool that they are for, and from nobody but root or oneself."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.kernel import btf, layout
from swiotlb_top.kernel.types_file import TypesFile
from swiotlb_top.probes.compile import bpf_files, compiler, plan, program_file
from swiotlb_top.probes.compile.flags import WAYS, compiler_flags
from swiotlb_top.probes.compile.given import Given, images, read
from swiotlb_top.probes.compile.images import COMPILED
from swiotlb_top.probes.compile.program_file import ProgramFile
from tests.kernels import btf_of, layout_of
from tests.support.program_files import file_for, image_of, moved

DEBIAN = layout_of("debian")
FLAGS = compiler_flags(DEBIAN, plan.make(DEBIAN, kprobes=True), spares=True, cpus=6)


def put(path: Path, content: ProgramFile) -> Path:
    path.write_bytes(program_file.packed(content))
    path.chmod(0o644)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return put(tmp_path / "debian.swprog", file_for(DEBIAN))


@pytest.mark.parametrize(("ring_bytes", "spares"), WAYS, ids=["recorder", "screen"])
def test_of_a_file_the_program_is_taken_that_was_compiled_alike(file: Path, ring_bytes: int, spares: bool) -> None:
    made = plan.make(DEBIAN, kprobes=True)
    six, eight = (compiler_flags(DEBIAN, made, ring_bytes, spares=spares, cpus=cpus) for cpus in (6, 8))
    assert Given(file).image(DEBIAN, six) == image_of(eight)


def test_nothing_is_compiled_and_no_process_is_started(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it needs a compiler")

    monkeypatch.setattr(compiler, "compiled", fail)
    monkeypatch.setattr(subprocess, "Popen", fail)
    assert Given(file).image(DEBIAN, FLAGS).programs


def test_without_a_file_it_is_compiled() -> None:
    assert images(None) is COMPILED
    assert images(Path("x")) == Given(Path("x"))


def test_what_differs_is_named_with_what_to_do(file: Path) -> None:
    here = moved(DEBIAN, "io_tlb_mem", "nslabs", 72)
    wanted = compiler_flags(here, plan.make(here, kprobes=True), spares=True, cpus=6)
    with pytest.raises(CannotError) as refused:
        Given(file).image(here, wanted)
    assert str(refused.value) == (
        f"the programs in {file} are not for this kernel: nslabs of struct io_tlb_mem is at byte 72 here, and at byte "
        "64 where it was compiled for; swiotlb-top program build makes one for it"
    )


def test_those_of_another_machine_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "arm", file_for(DEBIAN, machine="s390x"))
    with pytest.raises(CannotError, match=f"are for s390x, and this machine is {platform.machine()}"):
        Given(path).image(DEBIAN, FLAGS)


def test_those_of_another_tool_are_refused_even_if_the_kernel_is_right(tmp_path: Path) -> None:
    path = put(tmp_path / "old", file_for(DEBIAN, sources="0" * 64, tool="0.0.9"))
    with pytest.raises(CannotError, match=r"from the sources of another swiotlb-top \(0\.0\.9\)"):
        Given(path).image(DEBIAN, FLAGS)


def test_what_others_could_have_written_is_not_loaded_but_may_be_looked_at(file: Path) -> None:
    for mode in (0o664, 0o646, 0o666):
        file.chmod(mode)
        with pytest.raises(UnreadableError, match="others than root and this user can write it; chown root"):
            Given(file).image(DEBIAN, FLAGS)
        assert read(file).made.release == "6.12.57"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_somebody_else_is_not_loaded(file: Path) -> None:
    os.chown(file, 65534, 65534)
    with pytest.raises(UnreadableError, match="is not loaded"):
        Given(file).image(DEBIAN, FLAGS)


@pytest.mark.parametrize(
    "name",
    ["nothing", "pipe", "large", "a\0b", "x" * 5000, "loop", "recording", "recording/x", "/dev/zero", "/proc/self/mem"],
)
def test_what_is_no_program_file_is_refused_in_a_line(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "recording").write_bytes(b"SWTRACE1" * 100)
    with (tmp_path / "large").open("wb") as large:
        large.truncate(program_file.MOST_BYTES + 1)
    with pytest.raises(UnreadableError) as refused:
        Given(tmp_path / name).image(DEBIAN, FLAGS)
    assert "\n" not in str(refused.value)


def test_those_of_another_tool_are_refused_as_such_whatever_their_programs_look_like(tmp_path: Path) -> None:
    path = put(tmp_path / "newer", file_for(DEBIAN, sources="0" * 64))
    first, second, _ = path.read_bytes().split(b"\n", 2)
    path.write_bytes(b"\n".join((first, second, b"something else")))
    with pytest.raises(CannotError, match="from the sources of another swiotlb-top"):
        Given(path).image(DEBIAN, FLAGS)


# ---- a directory


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> str:
    """The build that runs here."""
    digest = btf.digest(TypesFile(btf_of("debian"), of_kernel=True))
    monkeypatch.setattr(layout, "build", lambda: digest)
    return digest


def test_of_a_directory_the_file_is_taken_that_is_for_this_build(here: str, tmp_path: Path) -> None:
    put(tmp_path / "a.swprog", file_for(layout_of("micro-vm"), btf="0" * 64))
    put(tmp_path / "b.swprog", file_for(DEBIAN, btf=here))
    put(tmp_path / "c.swprog", file_for(layout_of("dynamic"), btf="1" * 64))
    assert Given(tmp_path).image(DEBIAN, FLAGS).programs


def test_of_two_for_this_build_the_one_for_this_tool_is_taken(here: str, tmp_path: Path) -> None:
    put(tmp_path / "a.swprog", file_for(DEBIAN, btf=here, sources="0" * 64))
    put(tmp_path / "b.swprog", file_for(DEBIAN, btf=here))
    put(tmp_path / "c.swprog", file_for(DEBIAN, btf=here, sources="1" * 64))
    assert Given(tmp_path).image(DEBIAN, FLAGS).programs
    (tmp_path / "b.swprog").unlink()
    with pytest.raises(CannotError, match=r"a\.swprog were compiled from the sources of another"):
        Given(tmp_path).image(DEBIAN, FLAGS)


def test_of_a_directory_without_one_it_is_said_what_there_is(here: str, tmp_path: Path) -> None:
    release = os.uname().release
    with pytest.raises(CannotError) as refused:
        Given(tmp_path).image(DEBIAN, FLAGS)
    assert f"no file in {tmp_path} is for this kernel ({release}): there are no files *.swprog; " in str(refused.value)
    for number in range(5):
        put(tmp_path / f"{number}.swprog", file_for(DEBIAN, btf=f"{number}" * 64))
    (tmp_path / "damaged.swprog").write_text("damaged")
    put(tmp_path / "anybodys.swprog", file_for(DEBIAN, btf=here)).chmod(0o666)
    put(tmp_path / "not-named-so", file_for(DEBIAN, btf=here))
    with pytest.raises(CannotError) as refused:
        Given(tmp_path).image(DEBIAN, FLAGS)
    assert "there are 0.swprog, 1.swprog, 2.swprog, 2 more, 2 that cannot be read or not be trusted;" in str(
        refused.value
    )


def test_a_directory_may_be_reached_by_links_as_what_is_mounted_in_containers_is(here: str, tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    put(tmp_path / "..2026/b.swprog", file_for(DEBIAN, btf=here))
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/b.swprog").symlink_to("../..data/b.swprog")
    (tmp_path / "link").symlink_to("programs")
    for path in (tmp_path / "..data", tmp_path / "programs", tmp_path / "link", tmp_path / "link/b.swprog"):
        assert Given(path).image(DEBIAN, FLAGS).programs


def test_what_a_link_leads_to_is_what_must_be_trusted(here: str, tmp_path: Path) -> None:
    put(tmp_path / "anybodys", file_for(DEBIAN, btf=here)).chmod(0o666)
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/b.swprog").symlink_to("../anybodys")
    with pytest.raises(CannotError, match="there are 1 that cannot be read or not be trusted"):
        Given(tmp_path / "programs").image(DEBIAN, FLAGS)
    with pytest.raises(UnreadableError, match="others than root and this user can write it"):
        Given(tmp_path / "programs/b.swprog").image(DEBIAN, FLAGS)


def test_what_else_is_in_a_directory_does_not_matter_and_is_not_kept_open(here: str, tmp_path: Path) -> None:
    put(tmp_path / "b.swprog", file_for(DEBIAN, btf=here))
    (tmp_path / "a-directory.swprog").mkdir()
    os.mkfifo(tmp_path / "a-pipe.swprog")
    (tmp_path / "leads-nowhere.swprog").symlink_to("nothing")
    open_before = os.listdir("/proc/self/fd")
    assert Given(tmp_path).image(DEBIAN, FLAGS).programs
    assert os.listdir("/proc/self/fd") == open_before


@pytest.mark.usefixtures("here")
def test_a_directory_that_may_not_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UnreadableError, match=f"cannot read {tmp_path}: Permission denied"):
        Given(tmp_path).image(DEBIAN, FLAGS)


def test_a_path_that_may_not_be_followed_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UnreadableError, match=f"cannot read {tmp_path / 'programs'}: Permission denied"):
        Given(tmp_path / "programs").image(DEBIAN, FLAGS)


def test_a_file_that_was_replaced_meanwhile_is_read_anew(file: Path) -> None:
    given = Given(file)
    assert given.image(DEBIAN, FLAGS).programs
    put(file, replace(file_for(DEBIAN), made=file_for(DEBIAN, sources="0" * 64).made))
    with pytest.raises(CannotError, match="another swiotlb-top"):
        given.image(DEBIAN, FLAGS)


def test_the_sources_have_one_digest_wherever_they_lie() -> None:
    assert bpf_files.digest() == bpf_files.digest()
    with bpf_files.directory() as source:
        texts = bpf_files.texts(source)
    assert any("MODE_RECORD" in text for text in texts)
