"""``swiotlb-top why``: what it reads, what it says, and the status it ends with."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.kernel_log import kmsg
from swiotlb_top.kernel_log.causes import LogCause
from swiotlb_top.kernel_log.meanings import MEANINGS
from tests.support.logs import REPORTED

TOO_LARGE = "vc4-drm gpu: swiotlb buffer is full (sz: 327680 bytes), total 32768 (slots), used 12 (slots)"
NO_RUN = "virtio_ccw 0.0.0000: swiotlb buffer is full (sz: 262144 bytes), total 32768 (slots), used 28249 (slots)"
BOOT = "software IO TLB: mapped [mem 0x000000006fbf7000-0x0000000073bf7000] (64MB)"


def test_a_line_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", f"[   97.1] {TOO_LARGE}"]) == Exit.DISAGREE
    said = capsys.readouterr().out
    assert "vc4-drm gpu: too_large, at least 1 map failed" in said
    assert "327680 bytes (160 slots); 12 of 32768 slots in use" in said
    assert "No value of swiotlb= changes this" in said


REPORTS = [line.split("\t") for line in REPORTED.read_text().splitlines() if not line.startswith("#")]
_LABEL_WIDTH = 15
_COMMANDS = ("swiotlb-top ", "dmesg |")


@pytest.mark.parametrize(
    ("report", "cause", "who", "line"), REPORTS, ids=[f"{r[0]}-{n}" for n, r in enumerate(REPORTS)]
)
def test_each_line_that_was_reported_is_explained_and_what_it_cannot_tell_is_said_to_be_open(
    report: str, cause: str, who: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", line]) == Exit.DISAGREE
    said = capsys.readouterr().out
    assert f"{who or '(no device is named)'}: {cause}, at least 1 map failed" in said
    told = {text[:_LABEL_WIDTH].strip(): text[_LABEL_WIDTH:] for text in said.splitlines() if text.startswith("  ")}
    assert told["line"] == line
    meaning = MEANINGS[LogCause(cause)]
    assert (told["means"], told["helps"], told["no help"], told["open"]) == (
        meaning.means,
        meaning.helps,
        meaning.does_not,
        meaning.open,
    )
    assert any(command in told["open"] for command in _COMMANDS), f"{report}: no command tells what is open"


@pytest.mark.parametrize("cause", [cause for cause in LogCause if cause.fails_maps and len(cause.possible) != 1])
def test_a_cause_that_numbers_cannot_tell_is_not_claimed(cause: LogCause) -> None:
    """It is named as all that it may be, or what is open of it is."""
    meaning = MEANINGS[cause]
    possible = [one.value for one in cause.possible[:2]]
    assert meaning.open
    assert all(word in f"{meaning.means} {meaning.open}" for word in possible) or cause is LogCause.TOO_LARGE


def test_full_is_not_said_of_a_pool_that_was_not(capsys: pytest.CaptureFixture[str]) -> None:
    main(["why", NO_RUN])
    said = capsys.readouterr().out
    assert "Enough slots were free" in said
    assert "fragmented, misaligned or boundary" in said
    assert "swiotlb-top record" in said


def test_a_file_is_explained_and_grouped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "console.log"
    log.write_text(
        "".join(f"[   {second}.5] {TOO_LARGE}\n" for second in range(10, 15))
        + f"[   20.0] {NO_RUN}\n[   21.0] swiotlb_tbl_map_single: 6 callbacks suppressed\n[ 0.1] {BOOT}\n"
    )
    assert main(["why", str(log), "--json"]) == Exit.DISAGREE
    found = json.loads(capsys.readouterr().out)
    assert (found["failed_maps"], found["not_printed"], found["lines_read"]) == (6, 6, 8)
    assert [(group["device"], group["cause"], group["lines"]) for group in found["groups"]] == [
        ("gpu", "too_large", 5),
        ("0.0.0000", "no_run", 1),
    ]
    likely_first = ["fragmented", "misaligned", "boundary", "exhausted", "padded", "overtaken"]
    assert found["groups"][1]["possible"] == likely_first
    assert found["suppressed"] == {"swiotlb_tbl_map_single": 6}
    assert found["boot"] == [BOOT]


def test_standard_input_is_read() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "swiotlb_top", "why", "-"], input=TOO_LARGE, text=True, capture_output=True, check=False
    )
    assert ended.returncode == Exit.DISAGREE
    assert ended.stdout.startswith("at least 1 map failed, of 1 device\n")
    assert not ended.stderr


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (f"[0.1] {BOOT}", Exit.OK, "no trouble is told of"),
        ("[0.1] Linux version 6.12", Exit.INCONCLUSIVE, "no line tells of swiotlb. That does not say that all is well"),
        ("[0.1] swiotlb: in other words", Exit.INCONCLUSIVE, "none is known here"),
        ("[0.1] software IO TLB: Failed to allocate new pool", Exit.DISAGREE, "no failed map is told of"),
        ("[0.1] swiotlb_tbl_map_single: 6 callbacks suppressed", Exit.DISAGREE, "6 lines of trouble not printed"),
    ],
)
def test_the_status_claims_no_more_than_is_known(
    text: str, status: Exit, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", text]) == status
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(TOO_LARGE.encode()), "is compressed: zcat "),
        (b"LPKSHHRH\x00", "is a journal: journalctl -k --file "),
    ],
    ids=["gzip", "journal"],
)
def test_what_is_no_text_is_not_read_as_one(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_bytes(content)
    assert main(["why", str(tmp_path / "log")]) == Exit.UNREADABLE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing.log", "", "x" * 5000, "a\0b"], ids=["missing", "empty", "long", "NUL"])
def test_a_file_that_is_not_there_is_said_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["why", name]) in (Exit.UNREADABLE, Exit.USAGE)
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.count("\n") == 1


def test_a_log_that_may_not_be_read_is_no_empty_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> kmsg.Kmsg:
        raise CannotError("the kernel's log cannot be read (/dev/kmsg: Operation not permitted)", "run as root")

    monkeypatch.setattr(kmsg.Kmsg, "open", refuse)
    assert main(["why"]) == Exit.CANNOT
    captured = capsys.readouterr()
    assert not captured.out
    assert "run as root" in captured.err


def test_every_cause_has_a_meaning() -> None:
    assert set(MEANINGS) == set(LogCause)
    for meaning in MEANINGS.values():
        for sentence in (meaning.means, meaning.helps, meaning.does_not, meaning.open):
            assert sentence.endswith(".")


def test_a_recording_on_standard_input_is_not_read_as_a_log() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "swiotlb_top", "why", "-"],
        input=b"SWTRACE\n\x01",
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (Exit.UNREADABLE, b"")
    assert ran.stderr == (
        b"swiotlb-top: standard input is a recording, which can only be read from a file: "
        b"swiotlb-top why FILE explains it\n"
    )
