"""The whole screen, character by character, at the widths it is made for."""

from __future__ import annotations

import pytest
from rich.console import Console

from swiotlb_top.sources.frame import Frame
from swiotlb_top.tui.glyphs import ASCII, UNICODE, Glyphs
from swiotlb_top.tui.screen import render
from tests.unit.snapshots import DEBUGFS, STALLING

AT_120 = """\
swiotlb-top · kernel 6.12.117
source   live: fexit on swiotlb_tbl_map_single
FAILING  0000:00:04.0 (virtio-pci): 230 failed maps/s
why      needs 128 contiguous slots, longest free run 126
causes   too_fragmented 228, too_large 2
slots    ██████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 415 of 2,560 used (16.2%)
         high water 2,560 · transient 40 · memory 5 MiB
rates    maps 14.0k/s · unmaps 14.0k/s · failed 230/s · growths 5
verdict  agree · 14,400 compared with 6.8-6.12: 0 disagree, 0 inconclusive, 0 events lost

POOL START   KIND       SLOTS  AREAS  USED  USED%  LONGEST FREE
0x7bf00000   default      512      4   412   80.4           126
0x100000000  grown       2048      4     3    0.1          2000
0x200000000  transient     40      1    40  100.0             -

DEVICE        DRIVER      MAPS/s  FAILED/s  MB/s  HELD
0000:00:04.0  virtio-pci   14.0k       230    57     4
0000:00:05.0  nvme            40         0   2.6     0

note     find_slots is inlined: pools are told by address
"""

AT_80 = """\
swiotlb-top · kernel 6.12.117
source   live: fexit on swiotlb_tbl_map_single
FAILING  0000:00:04.0 (virtio-pci): 230 failed maps/s
why      needs 128 contiguous slots, longest free run 126
causes   too_fragmented 228, too_large 2
slots    ██████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 415 of 2,560 used (16.2%)
         high water 2,560 · transient 40 · memory 5 MiB
rates    maps 14.0k/s · unmaps 14.0k/s · failed 230/s · growths 5
verdict  agree · 14,400 compared with 6.8-6.12: 0 disagree, 0 inconclusive, 0
         events lost

POOL START   KIND       SLOTS  AREAS  USED  USED%  LONGEST FREE
0x7bf00000   default      512      4   412   80.4           126
0x100000000  grown       2048      4     3    0.1          2000
0x200000000  transient     40      1    40  100.0             -

DEVICE        DRIVER      MAPS/s  FAILED/s  MB/s  HELD
0000:00:04.0  virtio-pci   14.0k       230    57     4
0000:00:05.0  nvme            40         0   2.6     0

note     find_slots is inlined: pools are told by address
"""

AT_40 = """\
swiotlb-top · kernel 6.12.117
source   live: fexit on
         swiotlb_tbl_map_single
FAILING  0000:00:04.0 (virtio-pci): 230
         failed maps/s
why      needs 128 contiguous slots,
         longest free run 126
causes   too_fragmented 228, too_large 2
slots    █░░░ 415 of 2,560 used (16.2%)
         high water 2,560 · transient 40
         · memory 5 MiB
rates    maps 14.0k/s · unmaps 14.0k/s ·
         failed 230/s · growths 5
verdict  agree · 14,400 compared with
         6.8-6.12: 0 disagree, 0
         inconclusive, 0 events lost

POOL START   SLOTS  USED%
0x7bf00000     512   80.4
0x100000000   2048    0.1
0x200000000     40  100.0

DEVICE        MAPS/s  FAILED/s
0000:00:04.0   14.0k       230
0000:00:05.0      40         0

note     find_slots is inlined: pools
         are told by address
"""

DEBUGFS_IN_ASCII_AT_80 = """\
swiotlb-top | kernel 6.12.117
source   debugfs: live: needs root; so: swiotlb's own counters
slots    #....................................... 3 of 512 used (0.5%)
         high water 0 | transient 0 | memory 1 MiB
rates    maps -/s | unmaps -/s | failed -/s | growths -
verdict  unchecked | this source compares nothing
"""


def drawn(frame: Frame, width: int, glyphs: Glyphs = UNICODE) -> str:
    console = Console(width=width, force_terminal=False, color_system=None, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(render(frame, glyphs, width))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


@pytest.mark.parametrize(("width", "golden"), [(120, AT_120), (80, AT_80), (40, AT_40)])
def test_a_stalling_disk_as_it_is_drawn(width: int, golden: str) -> None:
    assert drawn(STALLING, width) == golden


def test_debugfs_alone_as_it_is_drawn_where_only_ascii_can_be_shown() -> None:
    assert drawn(Frame(DEBUGFS), 80, ASCII) == DEBUGFS_IN_ASCII_AT_80
