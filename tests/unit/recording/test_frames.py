"""``swiotlb-top --trace FILE --json --every 10ms``: frames of recorded time, to the end, and the same each time."""

from __future__ import annotations

import json

import pytest

from swiotlb_top.cli import main
from swiotlb_top.errors import Exit
from tests.support.doctoring import FOUR_CPUS, STALL

EVERY = ["--json", "--every"]


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    main(["--trace", *arguments])
    return capsys.readouterr().out.splitlines()


def test_the_same_recording_gives_the_same_frames(capsys: pytest.CaptureFixture[str]) -> None:
    first = lines(capsys, str(FOUR_CPUS), *EVERY, "10ms")
    assert (
        first == lines(capsys, str(FOUR_CPUS), *EVERY, "10ms") == lines(capsys, str(FOUR_CPUS), "--json", "-d", "0.01")
    )


def test_frames_are_so_much_recorded_time_apart_and_end_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    frames = [json.loads(line) for line in lines(capsys, str(STALL), *EVERY, "100ms")]
    positions = [frame["playback"]["position_ns"] for frame in frames]
    length_ns = frames[-1]["playback"]["length_ns"]
    whole, rest = divmod(length_ns, 100_000_000)
    assert positions == [*(100_000_000 * number for number in range(1, whole + 1)), *([length_ns] if rest else [])]
    assert (frames[-1]["maps"], frames[-1]["map_failures"]) == (1042, 521)


def test_the_status_is_that_of_the_last_headline(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trace", str(STALL), *EVERY, "1s"]) == Exit.DISAGREE


def test_replay_tells_the_devices_of_a_recording_too(capsys: pytest.CaptureFixture[str]) -> None:
    main(["replay", str(STALL), "--json"])
    told = json.loads(capsys.readouterr().out)
    (device,) = told["devices"]
    assert (device["name"], device["driver"]) == ("0000:00:04.0", "virtio-pci")
    assert device["map_failures_by_cause"] == told["map_failures_by_cause"] == {"exhausted": 521}
    assert [device[name] for name in ("maps", "unmaps", "map_failures")] == [1042, 1042, 521]
