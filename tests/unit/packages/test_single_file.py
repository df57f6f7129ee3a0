"""The single file runs where there is Python and nothing else of ours: as root, as a user, without a home."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swiotlb_top.errors import CannotError
from swiotlb_top.probes.compile import bpf_files, compiler, plan
from swiotlb_top.probes.compile.flags import compiler_flags
from tests.kernels import layout_of
from tools.packages import single_file, tree

DEADLINE_S = 300.0
ROOT = Path(__file__).parents[3]
PYTHON, *ISOLATED = single_file.INTERPRETER.split()
NOBODY = 65534

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"there is no {PYTHON}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.built(tmp_path_factory.mktemp("built"))[1]


@pytest.fixture(scope="module")
def single(wheel: Path) -> Iterator[Path]:
    """The single file, in a directory that everybody may read."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    path = directory / "swiotlb-top.pyz"
    single_file.make(wheel, path)
    yield path
    shutil.rmtree(directory)


@pytest.fixture
def recording(single: Path, tmp_path: Path) -> Path:
    """The one that is in the single file."""
    with zipfile.ZipFile(single) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".swtrace"))
        return Path(opened.extract(name, tmp_path))


def ran(
    *command: str | Path,
    at: Path,
    user: int | None = None,
    limit: Callable[[], None] | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in an empty directory that is also the home, with next to no environment."""
    empty = at / "empty"
    empty.mkdir(exist_ok=True)
    return subprocess.run(
        command,
        cwd="/" if user else empty,
        env={"HOME": "/nonexistent" if user else str(empty), "PATH": "/usr/bin:/bin", **environment},
        user=user,
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def test_it_tells_its_version(single: Path, tmp_path: Path) -> None:
    assert ran(single, "--version", at=tmp_path).stdout == f"swiotlb-top, version {tree.version()}\n"


def test_it_explains_a_line_of_the_kernel_s(single: Path, tmp_path: Path) -> None:
    told = ran(single, "why", "virtio-pci 0000:00:04.0: swiotlb buffer is full", at=tmp_path)
    assert told.stdout.startswith("at least 1 map failed, of 1 device\n")
    assert (told.returncode, told.stderr) == (1, "")


def test_it_judges_a_recording(single: Path, recording: Path, tmp_path: Path) -> None:
    told = ran(single, "replay", recording, at=tmp_path)
    assert "verdict: AGREE" in told.stdout
    assert (told.returncode, told.stderr) == (0, "")


def test_it_shows_its_demonstration(single: Path, tmp_path: Path) -> None:
    told = ran(single, "-n", "1", "--demo", at=tmp_path)
    assert told.stdout.startswith("swiotlb-top · DEMONSTRATION, NOT THIS MACHINE · ")
    assert "a recording of 6.12.117 (growing.swtrace)" in told.stdout
    assert told.stderr == ""


def test_it_says_what_can_be_watched(single: Path, tmp_path: Path) -> None:
    told = ran(single, "doctor", at=tmp_path)
    assert f" {os.uname().release} " in told.stdout
    assert told.returncode in (0, 3)
    assert told.stderr == ""


def test_it_has_its_manual_page(single: Path, tmp_path: Path) -> None:
    assert ran(single, "man", at=tmp_path).stdout.startswith(".TH SWIOTLB-TOP 1 ")


def test_it_sizes_with_other_processes(single: Path, recording: Path, tmp_path: Path) -> None:
    told = ran(single, "size", recording, recording, at=tmp_path)
    assert told.stdout != ""
    assert told.stderr == ""


def test_it_leaves_nothing_behind(single: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ran(single, "-n", "1", "--demo", at=tmp_path, TMPDIR=str(scratch))
    assert list(scratch.iterdir()) == []
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_without_a_home_can_run_it(single: Path, tmp_path: Path) -> None:
    told = ran(single, "-n", "1", "--demo", at=tmp_path, user=NOBODY)
    assert told.stdout.startswith("swiotlb-top · DEMONSTRATION")
    assert told.stderr == ""


def test_all_that_it_imports_is_in_it_or_python_s_own(single: Path, tmp_path: Path) -> None:
    program = (
        "import json, sys, sysconfig\n"
        "before = set(sys.modules)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from swiotlb_top.cli import main\n"
        "main(['-n', '1', '--demo'])\n"
        "import swiotlb_exporter.run.serve, swiotlb_top.tui.app, textual.widgets\n"
        "files = {name: getattr(sys.modules[name], '__file__', None) or '' for name in set(sys.modules) - before}\n"
        "own = (sys.argv[1], sysconfig.get_path('stdlib'), sysconfig.get_path('platstdlib'))\n"
        "strays = [file for file in files.values() if file and not file.startswith(own)]\n"
        "print(json.dumps([sorted(files), strays]), file=sys.stderr)\n"
    )
    told = ran(PYTHON, *ISOLATED, "-c", program, single, at=tmp_path)
    imported, strays = json.loads(told.stderr.splitlines()[-1])
    assert {"click", "prometheus_client", "rich", "textual", "swiotlb_top", "swiotlb_exporter"} <= set(imported)
    assert strays == []


def test_what_lies_in_the_working_directory_is_not_imported(single: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "click.py").write_text("raise SystemExit('not this one')")
    (empty / "signal.py").write_text("raise SystemExit('nor this one')")
    assert ran(single, "--version", at=tmp_path, PYTHONPATH=str(empty)).returncode == 0


def test_the_c_in_it_is_compiled_as_that_of_a_checkout(single: Path, tmp_path: Path) -> None:
    layout = layout_of("dynamic")
    flags = compiler_flags(layout, plan.make(layout, kprobes=False), spares=True)
    program = (
        "import json, pathlib, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from swiotlb_top.errors import CannotError\n"
        "from swiotlb_top.probes.compile.images import compiled\n"
        "from swiotlb_top.probes.compile.shelf import Shelf\n"
        "try:\n"
        "    print(compiled(tuple(json.loads(sys.argv[2])), Shelf(pathlib.Path(sys.argv[3]))).packed())\n"
        "except CannotError as error:\n"
        "    print(error)\n"
    )
    told = ran(PYTHON, *ISOLATED, "-c", program, single, json.dumps(flags), tmp_path / "shelf", at=tmp_path)
    try:
        as_here = compiler.compiled(ROOT / "bpf", flags).packed()
    except CannotError as error:
        as_here = str(error)
    assert told.stdout == f"{as_here}\n"
    assert told.stderr == ""


def test_what_was_compiled_from_a_checkout_is_loaded_by_it(single: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from swiotlb_top.probes.compile import bpf_files\n"
        "print(bpf_files.digest())\n"
    )
    told = ran(PYTHON, *ISOLATED, "-c", program, single, at=tmp_path)
    assert (told.stdout, told.stderr) == (f"{bpf_files.digest()}\n", "")


def test_where_nothing_can_be_written_it_says_so(single: Path, tmp_path: Path) -> None:
    told = ran(
        single, "-n", "1", "--demo", at=tmp_path, limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    )
    assert told.stderr == (
        "swiotlb-top: there is no place for files of swiotlb-top: File too large; set TMPDIR to a directory with room\n"
    )
    assert told.returncode == 3


def test_the_same_tree_makes_the_same_bytes(wheel: Path, single: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    single_file.make(tree.built(tmp_path / "built")[1], again)
    assert again.read_bytes() == single.read_bytes()


def test_it_holds_the_licence_of_everything_in_it(single: Path) -> None:
    with zipfile.ZipFile(single) as opened:
        names = opened.namelist()
    infos = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    licensed = {name.partition("/")[0] for name in names if ".dist-info/" in name and "LICEN" in name.upper()}
    assert len(infos) == 12
    assert infos == licensed


def test_it_is_small_enough_to_copy(single: Path) -> None:
    assert single.stat().st_size < 12_000_000
