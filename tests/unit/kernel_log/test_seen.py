"""Where this machine's log is seen: no headline is ``well`` above it, and where it cannot be read, that is said."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from swiotlb_top.accounting import logged
from swiotlb_top.accounting.frame import Frame
from swiotlb_top.accounting.headline import Level, headline
from swiotlb_top.accounting.snapshot import Snapshot
from swiotlb_top.errors import CannotError, Exit
from swiotlb_top.kernel_log.kmsg import Kmsg
from swiotlb_top.kernel_log.watch import KernelLog, LogWatch
from swiotlb_top.sources.logged import LoggedSource
from swiotlb_top.tui.glyphs import UNICODE
from swiotlb_top.tui.json_frames import frame_as_json
from swiotlb_top.tui.overview import overview
from tests.support.logs import EARLIER, FULL, KEYS_OF_A_LOG, POOL, WELL, found, with_log
from tests.support.snapshots import DEBUGFS, QUIET, STALLING
from tests.unit.kernel_log.test_kmsg import Ring


def test_without_a_line_it_is_as_well_as_before() -> None:
    assert headline(WELL).level is Level.WELL
    assert headline(WELL).exit_status is Exit.OK


def test_what_failed_before_is_never_well() -> None:
    stands = headline(with_log(EARLIER))
    assert stands.level is Level.FAILED
    assert stands.exit_status is Exit.DISAGREE
    at = time.strftime("%H:%M:%S", time.localtime((EARLIER.zero_s or 0) + 5.0))
    assert stands.sentence.startswith("at least 2 maps failed before this began to look")
    assert f"{at}: nvme 0000:00:01.0" in stands.sentence


@pytest.mark.parametrize("log", [KernelLog(before=found(POOL)), KernelLog(since=found(POOL))])
def test_other_trouble_is_not_well_either(log: KernelLog) -> None:
    stands = headline(with_log(log))
    assert stands.level is Level.UNCLEAR
    assert "pool_not_added" in stands.sentence
    assert stands.exit_status is Exit.INCONCLUSIVE


def test_lines_that_were_not_printed_are_not_well() -> None:
    stands = headline(with_log(KernelLog(before=found("swiotlb_tbl_map_single: 5 callbacks suppressed"))))
    assert stands.level is Level.UNCLEAR


def test_what_fails_now_is_worse_than_what_failed() -> None:
    assert headline(replace(STALLING, now=replace(STALLING.now, kernel_log=EARLIER))).level is Level.FAILING


def test_debugfs_sees_by_the_log_what_it_cannot_count() -> None:
    frame = Frame(replace(DEBUGFS, kernel_log=KernelLog(since=found(FULL))))
    assert headline(frame).level is Level.FAILED
    assert "since" in headline(frame).sentence


def test_the_screen_has_a_line_of_the_worst() -> None:
    told = {line.label: line.text.plain for line in overview(with_log(EARLIER), UNICODE, 120)}
    assert "nvme 0000:00:01.0: unsuitable_run, at least 2 failed" in told["dmesg"]
    assert "dmesg" not in {line.label for line in overview(WELL, UNICODE, 120)}


def test_json_has_all_of_it() -> None:
    log = frame_as_json(with_log(EARLIER))["kernel_log"]
    assert isinstance(log, dict)
    assert (log["failed_maps_before"], log["failed_maps_since"], log["unreadable"]) == (2, 0, None)
    (group,) = log["groups"]
    assert (group["device"], group["cause"], group["lines"]) == ("0000:00:01.0", "unsuitable_run", 2)
    assert frame_as_json(Frame(QUIET))["kernel_log"] is None
    documented = {name.removeprefix("groups.") for name in KEYS_OF_A_LOG}
    assert {*log, *group} - {"groups"} == documented


def test_a_log_that_cannot_be_read_is_not_one_without_failures() -> None:
    log = KernelLog(unreadable="the kernel's log cannot be read (/dev/kmsg: Operation not permitted)")
    told = logged.as_json(log)
    assert told is not None
    assert told["failed_maps_before"] is None
    assert not log.is_calm
    assert logged.in_a_line(log).startswith("not known what failed before: ")


def test_doctor_names_the_worst_and_counts_the_rest() -> None:
    log = KernelLog(before=found(*(FULL.replace("0000:00:01.0", f"0000:00:{n:02}.0") for n in range(5)), FULL))
    told = logged.in_a_line(log)
    assert told.startswith("at least 6 maps failed, of 5 devices; nvme 0000:00:01.0: unsuitable_run, at least 2 failed")
    assert told.count("unsuitable_run") == 3
    assert told.endswith("; 2 more; swiotlb-top why explains it")


def test_after_a_suspend_no_time_of_the_wall_is_made_up() -> None:
    assert "at [5.0] of the kernel's clock" in logged.failed(replace(EARLIER, zero_s=None))


@pytest.fixture
def ring() -> Ring:
    return Ring()


def test_a_watch_tells_what_was_there_from_what_came(ring: Ring) -> None:
    ring.print(0, FULL)
    watch = LogWatch(_opens(ring.log))
    ring.print(1, FULL)
    ring.print(2, FULL)
    seen = watch.read()
    assert (seen.before.failed_maps, seen.since.failed_maps) == (1, 2)
    assert (watch.read().before.failed_maps, watch.read().since.failed_maps) == (1, 2)
    watch.close()


def test_a_source_says_that_the_log_is_shut() -> None:
    class Quiet:
        closed = False

        def snapshot(self) -> Snapshot:
            return QUIET

        def close(self) -> None:
            self.closed = True

    def refuse() -> Kmsg:
        raise CannotError("the kernel's log cannot be read (/dev/kmsg: Operation not permitted)", "run as root")

    source = Quiet()
    seen = LoggedSource(source, LogWatch(refuse))
    (note,) = seen.snapshot().notes
    assert note.startswith("what failed before is not known: the kernel's log cannot be read")
    seen.close()
    assert source.closed


def _opens(log: Kmsg) -> Callable[[], Kmsg]:
    return lambda: log
