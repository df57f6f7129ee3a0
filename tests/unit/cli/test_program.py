"""``--program`` reaches the probes of every command that attaches; ``program`` makes such files and tells of them."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from swiotlb_top import recorder
from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.flight import hosted
from swiotlb_top.flight import recorder as flight_recorder
from swiotlb_top.kernel import elsewhere
from swiotlb_top.kernel.hooks import HOOKS
from swiotlb_top.probes import session
from swiotlb_top.probes.compile import building, differences, plan, program_file
from swiotlb_top.probes.compile.flags import compiler_flags, macros_of
from swiotlb_top.probes.compile.given import Given, read
from swiotlb_top.probes.compile.images import COMPILED
from swiotlb_top.probes.compile.program_file import ProgramFile
from swiotlb_top.sources import live
from tests.kernels import btf_of, kallsyms_of, layout_of, program_of
from tests.support.doctoring import STALL
from tests.support.program_files import file_for, image_of, made

DEBIAN = ["--btf", str(btf_of("debian")), "--kallsyms", str(kallsyms_of("debian"))]


EXPORT = ["export", "--source", "live", "--exit-if-blind"]

# ---- loading


ATTACHING: dict[str, tuple[Any, list[str]]] = {
    # the module that begins the session, and the command line
    "screen": (live, ["-n", "1", "--source", "live"]),
    "check": (live, ["check", "--source", "live", "--seconds", "1"]),
    "record": (recorder, ["record", "-o", "out.swtrace", "--duration", "1"]),
    "flight": (flight_recorder, ["record", "--flight", "5s", "-o", "flights"]),
    "export": (live, [*EXPORT, "--web.listen-address", "127.0.0.1:0"]),
    "export of a flight": (hosted, [*EXPORT, "--textfile", ".", "--flight", "5s", "-o", "flights"]),
    "size": (recorder, ["size", "--live", "--duration", "1"]),
    "doctor": (session, ["doctor"]),
}


@pytest.mark.parametrize("name", ATTACHING)
@pytest.mark.parametrize("given", [True, False], ids=["given", "compiled"])
def test_what_is_given_is_what_the_probes_are_loaded_from(
    name: str, given: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    def begin(**how: object) -> None:
        asked.append(how["images"])
        raise CannotError("no probes here")

    module, words = ATTACHING[name]
    monkeypatch.setattr(module, "Session", begin)
    monkeypatch.chdir(tmp_path)
    assert main([*words, *(["--program", "here.swprog"] if given else [])]) == Exit.CANNOT
    assert asked == [Given(Path("here.swprog")) if given else COMPILED]
    assert "no probes here" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--program", "x", "--trace", str(STALL)], "does not go with --trace"),
        (["--program", "x", "--demo"], "does not go with --demo"),
        (["--program", "x", "--source", "debugfs"], "does not go with --source debugfs"),
        (["check", "--program", "x", "--trace", str(STALL)], "does not go with --trace"),
        (["export", "--program", "x", "--trace", str(STALL)], "does not go with --trace"),
        (["size", str(STALL), "--program", "x"], "--program goes with --live"),
        (["record", "-o", "out.swtrace", "--program", ""], "the name of a file is needed"),
    ],
)
def test_it_is_for_probes(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == Exit.USAGE
    said = capsys.readouterr()
    assert says in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


# ---- building


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory to work in, and a compiler that takes no time."""
    monkeypatch.setattr(building, "compiled", lambda wanted: {macros_of(flags): image_of(flags) for flags in wanted})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_made_of_what_another_kernel_tells_of_itself(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (compiled / "kallsyms.gz").write_bytes(gzip.compress(kallsyms_of("debian").read_bytes()))
    words = ["--btf", str(btf_of("debian")), "--kallsyms", "kallsyms.gz", "--release", "6.12.57", "-o", "a.swprog"]
    assert main(["program", "build", *words]) == Exit.OK
    size = (compiled / "a.swprog").stat().st_size
    assert capsys.readouterr() == (f"a.swprog: {size:,} bytes\n", "")
    content = read(compiled / "a.swprog")
    assert content.images == file_for(layout_of("debian")).images
    assert content.made.release == "6.12.57"
    assert content.made.btf == elsewhere.read(btf_of("debian"), kallsyms_of("debian")).btf


def test_without_them_it_is_for_the_kernel_that_runs_here(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = elsewhere.read(btf_of("micro-vm"), kallsyms_of("micro-vm"))
    monkeypatch.setattr(elsewhere, "here", lambda: here)
    assert main(["program", "build", "-o", "a.swprog"]) == Exit.OK
    content = read(compiled / "a.swprog")
    assert (content.made.btf, content.made.release) == (here.btf, os.uname().release)


def test_everybody_may_read_it_and_only_its_owner_may_write_it(compiled: Path) -> None:
    assert main(["program", "build", *DEBIAN, "-o", "a.swprog"]) == Exit.OK
    assert (compiled / "a.swprog").stat().st_mode & 0o777 == 0o644
    assert read(compiled / "a.swprog", trusted=True).made.release == ""


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["-o", "a", "--btf", "x"], Exit.USAGE, "--btf and --kallsyms go together"),
        (["-o", "a", "--kallsyms", "x"], Exit.USAGE, "--btf and --kallsyms go together"),
        (["-o", "a", "--release", "6.12"], Exit.USAGE, "--release goes with --btf"),
        ([], Exit.USAGE, "Missing option '-o'"),
        (["-o", "a", "--btf", "nothing", "--kallsyms", "nothing"], Exit.UNREADABLE, "cannot read nothing: No such"),
        ([*DEBIAN, "--release", "\x1b[2J", "-o", "a"], Exit.USAGE, "is no release"),
        ([*DEBIAN, "--release", "x" * 101, "-o", "a"], Exit.USAGE, "is no release"),
        ([*DEBIAN, "-o", "there"], Exit.CANNOT, "there exists: choose another name"),
        ([*DEBIAN, "-o", "no/such"], Exit.CANNOT, "no is no directory: make it first"),
    ],
)
def test_what_it_cannot_be_made_of_is_said_in_a_line(
    compiled: Path, words: list[str], status: Exit, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (compiled / "there").touch()
    assert main(["program", "build", *words]) == status
    said = capsys.readouterr()
    assert says in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert [path.name for path in compiled.iterdir()] == ["there"]


def test_a_file_that_exists_is_refused_before_anything_is_compiled(
    compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (compiled / "a").touch()
    monkeypatch.setattr(building, "compiled", lambda _: pytest.fail("it was compiled"))
    assert main(["program", "build", *DEBIAN, "-o", "a"]) == Exit.CANNOT


# ---- showing


def test_what_a_file_is_for_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["program", "show", str(program_of("debian"))]) == Exit.OK
    kernel, made_by, sources, programs, *probes = capsys.readouterr().out.splitlines()
    assert kernel == "kernel    6.12.57+deb13-amd64, x86_64, BTF 9f0d1c24e786"
    assert made_by.startswith("made by   swiotlb-top 0.1.0 with bcc 0.26.0")
    assert sources.startswith("from      sources ")
    assert programs == f"programs  17 in {program_of('debian').stat().st_size:,} bytes, for any number of CPUs"
    assert probes == [
        "probes    map            fentry swiotlb_tbl_map_single",
        "          unmap          fentry __swiotlb_tbl_unmap_single",
        "          device_init    fentry swiotlb_dev_init",
    ]


def test_it_is_said_whether_this_tool_loads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sources, says in (("", "those of this one"), ("0" * 64, "others than those of this one: build it anew")):
        path = tmp_path / f"{sources}.swprog"
        content = file_for(layout_of("dynamic"), **({"sources": sources} if sources else {}))
        path.write_bytes(program_file.packed(content))
        assert main(["program", "show", str(path)]) == Exit.OK
        assert says in capsys.readouterr().out
        assert main(["program", "show", str(path), "--json"]) == Exit.OK
        told = json.loads(capsys.readouterr().out)
        assert told["made_by"]["is_this_tool"] is not bool(sources)
        assert {"hook": "alloc_pool", "how": "kprobe", "function": "swiotlb_alloc_pool.isra.0"} in told["probes"]


def test_macros_that_no_compiler_was_given_are_no_probes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hook,) = (hook for hook in HOOKS if hook.name == "map")
    macros = frozenset({(f"{hook.macro}_FENTRY", "1"), ("O_mem_nslabs", "x"), ("anything", "else")})
    content = ProgramFile(made(), {macros: image_of(())})
    path = tmp_path / "odd.swprog"
    path.write_bytes(program_file.packed(content))
    assert main(["program", "show", str(path), "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["probes"] == []
    layout = layout_of("debian")
    wanted = macros_of(compiler_flags(layout, plan.make(layout, kprobes=True), spares=True))
    told = differences.named(content.images, wanted, layout)
    assert "\n" not in told
    assert "None" not in told


@pytest.mark.parametrize("name", ["/nonexistent", "/", str(STALL), str(btf_of("debian"))])
def test_what_is_none_is_said_in_a_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["program", "show", name]) == Exit.UNREADABLE
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_what_an_earlier_state_of_the_tool_compiled_can_still_be_read() -> None:
    content = read(program_of("debian"))
    assert len(content.images) == 17
    assert all("read_kernel_memory" in image.programs for image in content.images.values())
