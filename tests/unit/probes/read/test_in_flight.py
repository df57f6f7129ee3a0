"""Up to when every call is over, by the entries that the probes keep in the kernel."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.probes.read.in_flight import ELSEWHERE_BYTES, NEST_BYTES, InFlight

NOW_NS = 1_000_000
TOLD = 1 << 63
CELLS = 4096
MINUTE_NS = 60_000_000_000

Call = tuple[int, int]


def nest(*calls: Call) -> bytes:
    """``struct nest`` of one CPU."""
    words = [len(calls), *(word for call in calls for word in call)]
    return b"".join(word.to_bytes(8, "little") for word in words).ljust(NEST_BYTES, b"\0")


def cell_of(frame: int) -> int:
    """``CELL()``"""
    return (frame * 0x9E3779B97F4A7C15 & (1 << 64) - 1) >> 52


class Elsewhere:
    """``struct elsewhere``, written as the probes do."""

    def __init__(self) -> None:
        self.displaced: list[Call] = [(0, 0)] * CELLS
        self.returned: list[Call] = [(0, 0)] * CELLS
        self.overwritten = 0

    def is_over(self, frame: int, entry_ns: int) -> bool:
        returned, exit_ns = self.returned[cell_of(frame)]
        return returned == frame and exit_ns > entry_ns

    def is_displaced(self, frame: int, entry_ns: int) -> None:
        if self.is_over(frame, entry_ns):
            return
        self.overwritten += self.displaced[cell_of(frame)][0] not in (0, frame)
        self.displaced[cell_of(frame)] = frame, entry_ns

    def returns(self, frame: int, exit_ns: int) -> None:
        self.returned[cell_of(frame)] = frame, exit_ns

    def packed(self) -> bytes:
        words = [word for call in (*self.displaced, *self.returned) for word in call]
        return b"".join(word.to_bytes(8, "little") for word in (*words, self.overwritten))


NOTHING = bytes(ELSEWHERE_BYTES)


def test_with_no_call_under_way_all_are_over_now() -> None:
    assert InFlight().none_before(NOW_NS, nest() * 4, NOTHING) == NOW_NS


def test_the_oldest_call_under_way_is_when_it_was_entered() -> None:
    assert InFlight().none_before(NOW_NS, nest((0xA, 700)) + nest((0xB, 300), (0xC, 900)), NOTHING) == 300


def test_a_call_that_was_told_of_is_over() -> None:
    assert InFlight().none_before(NOW_NS, nest((0xA, 700 | TOLD)), NOTHING) == NOW_NS


def test_a_call_whose_entry_is_about_to_be_noted_has_done_nothing_yet() -> None:
    assert InFlight().none_before(NOW_NS, nest((0xA, 0)), NOTHING) == NOW_NS


def test_a_call_that_returned_on_another_cpu_is_over() -> None:
    elsewhere = Elsewhere()
    elsewhere.returns(0xA, 800)
    assert InFlight().none_before(NOW_NS, nest((0xA, 700)), elsewhere.packed()) == NOW_NS
    assert InFlight().none_before(NOW_NS, nest((0xA, 900)), elsewhere.packed()) == 900


def test_a_call_of_whose_return_nothing_tells_is_under_way_though_its_frame_is_another_s_now() -> None:
    """Its record is lost, or somebody else's return was noted over its own: either way it is not known."""
    in_flight = InFlight()
    assert in_flight.none_before(NOW_NS, nest((0xA, 700)) + nest((0xA, 900)), NOTHING) == 700
    assert in_flight.take_lost() == 0


def test_after_a_minute_a_call_is_lost_and_told_of_once() -> None:
    in_flight, calls = InFlight(), nest((0xA, 700)) + nest((0xB, 900))
    assert in_flight.none_before(700 + MINUTE_NS, calls, NOTHING) == 700
    assert in_flight.take_lost() == 0
    assert in_flight.none_before(701 + MINUTE_NS, calls, NOTHING) == 900
    assert [in_flight.take_lost(), in_flight.take_lost()] == [1, 0]
    assert in_flight.none_before(801 + MINUTE_NS, calls, NOTHING) == 900
    assert in_flight.take_lost() == 0
    assert in_flight.none_before(901 + MINUTE_NS, calls, NOTHING) == 901 + MINUTE_NS
    assert in_flight.take_lost() == 1


def test_a_return_that_another_overwrote_is_remembered() -> None:
    elsewhere, in_flight = Elsewhere(), InFlight()
    elsewhere.returns(0xA, 800)
    assert in_flight.none_before(NOW_NS, nest((0xA, 700)), elsewhere.packed()) == NOW_NS
    other = next(frame for frame in range(0x100, 0x10000) if cell_of(frame) == cell_of(0xA))
    elsewhere.returns(other, 900)
    assert in_flight.none_before(NOW_NS, nest((0xA, 700)), elsewhere.packed()) == NOW_NS


def test_a_call_that_lost_its_place_is_under_way_until_it_returns() -> None:
    elsewhere, in_flight = Elsewhere(), InFlight()
    elsewhere.is_displaced(0xA, 300)
    assert in_flight.none_before(NOW_NS, nest((0xB, 700)), elsewhere.packed()) == 300
    elsewhere.returns(0xA, 750)
    assert in_flight.none_before(NOW_NS, nest((0xB, 700)), elsewhere.packed()) == 700


def test_where_one_was_overwritten_that_nobody_saw_no_call_is_known_to_be_over_for_a_minute() -> None:
    elsewhere, in_flight = Elsewhere(), InFlight()
    assert in_flight.none_before(500, nest(), elsewhere.packed()) == 500
    other = next(frame for frame in range(0x100, 0x10000) if cell_of(frame) == cell_of(0xA))
    elsewhere.is_displaced(0xA, 600)
    elsewhere.is_displaced(other, 700)
    assert in_flight.none_before(NOW_NS, nest(), elsewhere.packed()) == 500
    elsewhere.returns(other, 800)
    assert in_flight.none_before(NOW_NS + 1, nest(), elsewhere.packed()) == 500
    later_ns = NOW_NS + MINUTE_NS
    assert in_flight.none_before(later_ns, nest(), elsewhere.packed()) == later_ns


def test_calls_from_before_entries_were_kept_are_over_when_that_is_told() -> None:
    in_flight = InFlight()
    in_flight.none_before(NOW_NS, nest(), NOTHING)
    assert not in_flight.has_every_entry
    in_flight.older_are_over()
    assert in_flight.has_every_entry


def test_or_after_a_minute_since_none_takes_as_long() -> None:
    in_flight = InFlight()
    for now_ns, over in ((NOW_NS, False), (NOW_NS + MINUTE_NS, False), (NOW_NS + MINUTE_NS + 1, True)):
        in_flight.none_before(now_ns, nest(), NOTHING)
        assert in_flight.has_every_entry is over


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_nothing_is_ever_said_to_be_over_that_is_not(data: st.DataObject) -> None:
    """Calls of two tasks a CPU, that preempt each other, change CPUs and return in any order; a look now and then."""
    nests: list[tuple[int, list[Call]]] = [(0, [(0, 0)] * 8) for _ in range(2)]
    elsewhere, in_flight = Elsewhere(), InFlight()
    under_way: dict[int, tuple[int, int]] = {}
    for now_ns in range(1000, 1000 + 10 * data.draw(st.integers(1, 60)), 10):
        what = data.draw(st.sampled_from(["enters", "enters", "returns", "moves", "look"]))
        cpu = data.draw(st.integers(0, 1))
        if what == "enters":
            frame = data.draw(st.integers(1, 30).filter(lambda frame: frame not in under_way))
            top, calls = nests[cpu]
            place = calls[top % 8]
            if place[0] and not place[1] & TOLD:
                elsewhere.is_displaced(*place)
            calls[top % 8] = frame, now_ns
            nests[cpu] = top + 1, calls
            under_way[frame] = cpu, now_ns
        elif what == "moves" and under_way:
            frame = data.draw(st.sampled_from(sorted(under_way)))
            under_way[frame] = cpu, under_way[frame][1]
        elif what == "returns" and under_way:
            frame = data.draw(st.sampled_from(sorted(under_way)))
            cpu, _ = under_way.pop(frame)
            top, calls = nests[cpu]
            depth = 0
            for deeper in range(1, 9):
                place = calls[(top - deeper) % 8]
                if place[0] == frame and elsewhere.is_over(*place):
                    calls[(top - deeper) % 8] = 0, place[1]
                elif place[0] == frame:
                    depth = deeper
                    break
            if depth:
                calls[(top - depth) % 8] = 0, calls[(top - depth) % 8][1]
                nests[cpu] = top - depth, calls
            else:
                elsewhere.returns(frame, now_ns)
        else:
            known_ns = in_flight.none_before(now_ns, b"".join(nest(*calls) for _, calls in nests), elsewhere.packed())
            assert all(known_ns <= entry_ns for _, entry_ns in under_way.values())
            # Frames this small share no cell: whatever is not under way is known to be over.
            assert known_ns == min((entry_ns for _, entry_ns in under_way.values()), default=now_ns)
