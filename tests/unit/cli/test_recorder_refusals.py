"""What `record` and the live screen refuse, in which order, and in what words: through the real program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swiotlb_top.errors import Exit
from swiotlb_top.reports.doctor import examine

DEADLINE_S = 300.0


def swiotlb_top(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "swiotlb_top", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def refusal(*arguments: str | Path, status: Exit) -> str:
    """The one line on standard error, without the program's name."""
    ran = swiotlb_top(*arguments)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert ran.stderr.startswith("swiotlb-top: ")
    assert ran.stderr.count("\n") == 1
    return ran.stderr.removeprefix("swiotlb-top: ").removesuffix("\n")


@pytest.fixture(scope="module")
def why_no_probes() -> str:
    """What the doctor says of probes here, on a machine that takes none."""
    probes = next(check for check in examine().checks if check.name == "probes")
    if probes.ok:
        pytest.skip("this machine takes probes; the lab shows what happens then")
    return probes.found


def test_a_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    kept = tmp_path / "kept.swtrace"
    kept.write_bytes(b"precious")
    said = refusal("record", "-o", kept, "--duration", "1", status=Exit.CANNOT)
    assert said == f"{kept} exists: choose another name, or remove it first"
    assert kept.read_bytes() == b"precious"


def test_a_directory_is_no_file_to_write(tmp_path: Path) -> None:
    said = refusal("record", "-o", tmp_path, "--duration", "1", status=Exit.CANNOT)
    assert said == f"{tmp_path} is not a regular file: name a new one"


def test_nobody_is_told_to_remove_a_device() -> None:
    said = refusal("record", "-o", Path("/dev/null"), "--duration", "1", status=Exit.CANNOT)
    assert said == "/dev/null is not a regular file: name a new one"


def test_a_missing_directory_is_named_and_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    said = refusal("record", "-o", missing / "a.swtrace", "--duration", "1", status=Exit.CANNOT)
    assert said == f"{missing} is no directory: make it first"
    assert not missing.exists()


@pytest.mark.parametrize("command", ["no-such-program", "./no/such/program"])
def test_a_command_that_does_not_exist_is_a_usage_error(command: str, tmp_path: Path) -> None:
    said = refusal("record", "-o", tmp_path / "a.swtrace", "--", command, status=Exit.USAGE)
    assert said == f"cannot run {command}: no such program"
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_is_no_program_is_a_usage_error(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n")
    said = refusal("record", "-o", tmp_path / "a.swtrace", "--", text, status=Exit.USAGE)
    assert said == f"cannot run {text}: no such program"


def test_the_file_is_looked_at_before_the_command(tmp_path: Path) -> None:
    kept = tmp_path / "kept.swtrace"
    kept.touch()
    assert "exists" in refusal("record", "-o", kept, "--", "no-such-program", status=Exit.CANNOT)


def test_a_machine_without_probes_cannot_record_and_leaves_no_file(why_no_probes: str, tmp_path: Path) -> None:
    assert refusal("record", "-o", tmp_path / "a.swtrace", "--", "true", status=Exit.CANNOT) == why_no_probes
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_not_run_where_nothing_can_be_recorded(why_no_probes: str, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    assert refusal("record", "-o", tmp_path / "a", "--", "touch", witness, status=Exit.CANNOT) == why_no_probes
    assert not witness.exists()


def test_the_live_source_says_the_same_in_one_line(why_no_probes: str) -> None:
    assert refusal("--source", "live", "-n", "1", status=Exit.CANNOT) == why_no_probes


def test_the_exporter_says_why_it_has_nothing_to_serve(why_no_probes: str) -> None:
    said = refusal(
        "export", "--exit-if-blind", "--source", "live", "--web.listen-address", "127.0.0.1:0", status=Exit.CANNOT
    )
    assert why_no_probes in said
