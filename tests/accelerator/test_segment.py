"""The segments from which the accelerator answers: when there is one, how far it is from the page's line, and the
anchors they begin at, held against clocks of which the truth is known.
"""

import random
import struct

import pytest
from tests.serve.pages import ANCHOR_RAW_NS, NS, a_leap_page, a_page

from truechimer.daemon.ntp.accelerator_anchor import QUIET_NS, MonotonicAnchor, NoAnchor
from truechimer.errors import Misuse
from truechimer.instants import FS_PER_S, ntp64
from truechimer.serve import ClockPage, ServiceState
from truechimer.serve.clock_page import PageUnreadable
from truechimer.serve.ntp import accelerator as shared
from truechimer.serve.ntp.accelerator import (
    ACCELERATOR_LIMIT_S,
    SLEW_LIMIT,
    VALID_NS,
    Anchor,
    NoSegment,
    RateLimit,
    Segment,
    renewed,
    segment,
)
from truechimer.serve.ntp.bpf import Assembler, BpfMisuse, Do, Register, When
from truechimer.serve.ntp.server import stamp_at

UNIT_NS = 1e9 / 2**32
MONO_NS = 77 * NS


def made_from(
    page: ClockPage | PageUnreadable, raw_ns: int, *, boot_id: bytes = bytes(range(16))
) -> "Segment | NoSegment":
    return segment(
        page, Anchor(MONO_NS, raw_ns, 1.0), bound_limit_s=1e-3, boot_id=boot_id, simulated_allowed=False,
        precision_log2=-23,
    )  # fmt: skip


def test_a_segment_follows_the_pages_line_to_a_nanosecond() -> None:
    page = a_page(rate=-9.7e-5)
    rate = 1.0 - 2.5e-4  # the host's clock is being slewed
    made = segment(
        page, Anchor(MONO_NS, ANCHOR_RAW_NS + NS, rate), bound_limit_s=1e-3, boot_id=page.boot_id,
        simulated_allowed=False, precision_log2=-23,
    )  # fmt: skip
    assert isinstance(made, Segment)
    for after_ns in (0, 1, 999, 10**6, VALID_NS):
        truth = stamp_at(page, ANCHOR_RAW_NS + NS + round(after_ns * rate))
        assert abs(made.stamp_at(MONO_NS + after_ns) - truth) * UNIT_NS < 1.0


def test_a_segment_drawn_from_a_longer_one_is_the_pages_line_too() -> None:
    page = a_page(rate=4e-6)
    held = made_from(page, ANCHOR_RAW_NS + NS)
    assert isinstance(held, Segment)
    later = Anchor(MONO_NS + 10**8, ANCHOR_RAW_NS + NS + 10**8 + 777, 1.0 + 2e-5, 5)
    again = renewed(held, page, later)
    assert (again.head, again.kiss, again.valid_ns, again.asleep_ns) == (held.head, held.kiss, VALID_NS, 5)
    for after_ns in (0, VALID_NS):
        truth = stamp_at(page, later.raw_ns + round(after_ns * later.raw_per_mono))
        assert abs(again.stamp_at(later.mono_ns + after_ns) - truth) * UNIT_NS < 1.0


def test_a_segment_over_which_the_programs_products_would_overflow_is_never_made() -> None:
    page = a_page()
    held = made_from(page, ANCHOR_RAW_NS + NS)
    assert isinstance(held, Segment)
    longest_ns = ((1 << 64) - 1) // held.slope
    assert 3.9 < longest_ns / NS < 4.1
    later = Anchor(MONO_NS, ANCHOR_RAW_NS + NS, 1.0)
    longest = renewed(held, page, later, valid_ns=longest_ns)
    truth = stamp_at(page, later.raw_ns + longest_ns)
    assert abs(longest.stamp_at(MONO_NS + longest_ns) - truth) * UNIT_NS < 2.0
    for valid_ns in (longest_ns + 1, 5 * NS, -1):
        with pytest.raises(Misuse, match="shorter than 4 s"):
            renewed(held, page, later, valid_ns=valid_ns)
    with pytest.raises(Misuse):
        segment(
            page, later, bound_limit_s=1e-3, boot_id=page.boot_id, simulated_allowed=False, precision_log2=-23,
            valid_ns=5 * NS,
        )  # fmt: skip
    assert shared.slot_octets(longest, 1)


def test_there_is_no_segment_where_the_sockets_would_say_unsynchronised() -> None:
    raw_ns = ANCHOR_RAW_NS + NS
    assert isinstance(made_from(a_page(), raw_ns), Segment)
    for state in (ServiceState.FREERUN, ServiceState.ACQUIRING, ServiceState.ALARM):
        assert made_from(a_page(state=state), raw_ns) is NoSegment.UNSYNCHRONISED
    assert isinstance(made_from(a_page(state=ServiceState.HOLDOVER), raw_ns), Segment)
    for page in (a_page(simulated=True), a_page(bound_s=2e-3), PageUnreadable.EMPTY, PageUnreadable.TORN):
        assert made_from(page, raw_ns) is NoSegment.UNSYNCHRONISED
    assert made_from(a_page(), raw_ns, boot_id=bytes(16)) is NoSegment.UNSYNCHRONISED
    assert made_from(a_page(valid_until_raw_ns=raw_ns - 1), raw_ns) is NoSegment.UNSYNCHRONISED
    # what ends while the segment would still be in force
    assert made_from(a_page(valid_until_raw_ns=raw_ns + VALID_NS // 2), raw_ns) is NoSegment.CHANGING
    assert made_from(a_page(bound_s=9.999999e-4, bound_growth=1e-5), ANCHOR_RAW_NS) is NoSegment.CHANGING


@pytest.mark.parametrize("inserted_s", [1, -1])
def test_no_segment_reaches_over_a_leap_second_or_its_warning(inserted_s: int) -> None:
    page = a_leap_page(inserted_s=inserted_s)
    assert page.next_leap_tai_s is not None
    leap_raw_ns = ANCHOR_RAW_NS + (page.next_leap_tai_s * FS_PER_S - page.anchor_tai_fs) // 10**6
    changes = [leap_raw_ns, leap_raw_ns - max(inserted_s, 0) * NS]
    refused = 0
    for change_ns in changes:
        for off_ns in range(-3 * VALID_NS, 3 * VALID_NS, VALID_NS // 8):
            made = made_from(page, change_ns + off_ns)
            if isinstance(made, Segment):
                for at_ns in range(0, VALID_NS, VALID_NS // 50):
                    truth = stamp_at(page, change_ns + off_ns + at_ns)
                    assert abs(made.stamp_at(MONO_NS + at_ns) - truth) * UNIT_NS < 1.0
            else:
                assert made is NoSegment.CHANGING
                assert -VALID_NS * 1.01 < off_ns <= 0
                refused += 1
    assert refused >= 14


def test_an_answers_bound_holds_the_page_and_the_accelerators_own_limit() -> None:
    page = a_page(bound_s=123e-6, bound_growth=1e-4)
    made = made_from(page, ANCHOR_RAW_NS + NS)
    assert isinstance(made, Segment)
    (dispersion,) = struct.unpack("!I", made.head[8:12])
    at_end_s = 123e-6 + 1e-4 * (1.0 + VALID_NS / NS) + ACCELERATOR_LIMIT_S
    assert at_end_s <= dispersion / 2**16 < at_end_s + 2 / 2**16


class Host:
    """A host's two clocks with the truth known: MONOTONIC runs at `rate` times RAW, which a test changes."""

    def __init__(self, seed: int) -> None:
        self.raw = 5_000 * NS
        self.mono = float(77 * NS)
        self.rate = 1.0 + 12e-6
        self._draw = random.Random(seed)
        self.slow_readings = 0.02

    def pass_by(self, ns: int) -> None:
        self.raw += ns
        self.mono += ns * self.rate

    def _read(self) -> None:
        self.pass_by(self._draw.randint(15, 60))
        if self._draw.random() < self.slow_readings:
            self.pass_by(self._draw.randint(1_000, 2_400))  # interrupted, and still taken where all five were

    def raw_ns(self) -> int:
        self._read()
        return self.raw

    def mono_ns(self) -> int:
        self._read()
        return int(self.mono)

    def anchors(self) -> MonotonicAnchor:
        return MonotonicAnchor(raw_ns=self.raw_ns, monotonic_ns=self.mono_ns, suspended_ns=lambda: 0)


def error_ns(made: Anchor, host: Host) -> float:
    """Return how far the anchor's prediction of RAW is off, now."""
    return made.raw_ns + (host.mono - made.mono_ns) * made.raw_per_mono - host.raw


@pytest.mark.parametrize("seed", range(4))
def test_any_slew_within_the_limit_stays_within_the_bound(seed: int) -> None:
    host = Host(seed)
    anchors, draw = host.anchors(), random.Random(seed)
    last: Anchor | None = None
    worst, taken = 0.0, 0
    for turn in range(2_000):
        if turn % 100 == 99:
            host.rate = 1.0 + 12e-6 + draw.uniform(0.0, SLEW_LIMIT * 0.95) * draw.choice([-1, 0, 1]) / 2
        anchor = anchors.take()
        assert anchor is not NoAnchor.MOVED
        if isinstance(anchor, Anchor):
            last, taken = anchor, taken + 1
        host.pass_by(draw.choice([5_050_000, 5_100_000, 45_000_000]) if turn % 30 == 0 else 5_050_000)
        if last is not None and host.mono - last.mono_ns <= VALID_NS:
            worst = max(worst, abs(error_ns(last, host)))
    assert taken > 1_900
    assert worst < ACCELERATOR_LIMIT_S * 1e9
    assert worst > 1_000  # the slews were felt


@pytest.mark.parametrize("slew", [0.0833, -0.0833, 0.002, -0.1])
def test_a_larger_slew_is_seen_at_once_and_gives_no_anchor_until_it_has_stood_still(slew: float) -> None:
    host = Host(7)
    anchors = host.anchors()
    for _ in range(300):
        anchors.take()
        host.pass_by(5_000_000)
    assert isinstance(anchors.take(), Anchor)
    for change in (slew, -slew):  # it begins, and ends
        host.rate += change
        host.pass_by(5_000_000)
        assert anchors.take() is NoAnchor.MOVED
        moved_at = host.raw
        for _ in range(250):
            anchor = anchors.take()
            if isinstance(anchor, Anchor):
                break
            host.pass_by(5_000_000)
        assert isinstance(anchor, Anchor)
        assert host.raw - moved_at >= QUIET_NS
        host.pass_by(VALID_NS)
        assert abs(error_ns(anchor, host)) < ACCELERATOR_LIMIT_S * 1e9
        assert isinstance(anchors.take(), Anchor)
    assert anchors.moved_total == 2


def test_readings_that_were_all_interrupted_give_no_anchor() -> None:
    host = Host(3)
    anchors = host.anchors()
    host.slow_readings = 1.0
    host_reads = host._read
    host._read = lambda: (host.pass_by(9_000), host_reads())  # type: ignore[method-assign]
    assert {anchors.take() for _ in range(50)} == {NoAnchor.WIDE}


def test_a_rate_that_the_program_cannot_hold_is_refused() -> None:
    for bad in ((-1, 0, 1, 0), (1, 2**61, 1, 0), (1, 0, 1, 0, 18)):
        with pytest.raises(Misuse):
            RateLimit(*bad)


def test_the_shared_area_has_room_for_every_processor() -> None:
    for cpus, rows in ((1, 1), (2, 2), (3, 4), (64, 64), (65, 128), (256, 256)):
        assert shared.rows_for(cpus) == rows
        assert shared.own_bits_at(rows - 1) + 8 <= shared.area_octets(rows)
        assert 2 * (rows - 1) < 2 ** shared.stamp_shift(rows)
    with pytest.raises(Misuse):
        shared.rows_for(257)
    assert shared.slot_at(shared.SLOTS - 1) + shared.SLOT_OCTETS <= shared.CPU_ROWS_AT
    assert shared.count_at(shared.COUNTS[-1]) + 8 <= shared.OWN_BITS


def test_instructions_are_the_octets_of_rfc_9669() -> None:
    code = Assembler()
    code.do(Do.MOVE, Register.R0, 1)
    code.load(4, Register.R2, Register.R1, 8)
    code.jump_if(Register.R2, When.UNEQUAL, 7, "away")
    code.number(Register.R3, 0x1122334455667788)
    code.store(2, Register.STACK, -8, Register.R3)
    code.call(5)
    code.label("away")
    code.end(2)
    assert code.octets().hex(" ", 8) == (
        "b700000001000000 6112080000000000 5502040007000000 1803000088776655 "
        "0000000044332211 6b3af8ff00000000 8500000005000000 b700000002000000 9500000000000000"
    )
    with pytest.raises(BpfMisuse):
        code.label("away")
    for at_begin in (True, False):
        loop = Assembler()
        if at_begin:
            loop.label("back")  # a jump backward is a loop, which no packet may pay for
        loop.jump("back")
        with pytest.raises(BpfMisuse):
            loop.octets()


def test_the_limit_is_what_the_documents_say() -> None:
    assert pytest.approx(30e-6) == ACCELERATOR_LIMIT_S
    assert ntp64.UNITS_PER_S == 2**32
