"""The kernels below the compiled NTP loop say what their references say: the page's line, and the rules of stamps."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon_serve.simulated_host import START_NS, SimulatedHost
from tests.serve.pages import ANCHOR_RAW_NS, ANCHOR_TAI_S, a_page

from truechimer.daemon.host_clocks import StampKind, StampRefusal
from truechimer.daemon.ntp import ntp_layout
from truechimer.daemon.ntp.control_messages import FOUND_WORDS, HARDWARE, NO_STAMP, PACKET_INFO, STAMP, read_control
from truechimer.daemon.ntp.pair_kernel import note_pair_took
from truechimer.instants import FS_PER_S
from truechimer.serve import rx_watch
from truechimer.serve.ntp.line_kernel import line_fits, line_of, next_unit, stamp_of_line, units_apart
from truechimer.serve.ntp.reply import stamp_at

NS = 10**9
ERA_END_TAI_S = 2**32 - 2_208_988_800 + 37


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rate": 9.9e-3},
        {"rate": -1e-4, "anchor_tai_fs": (ERA_END_TAI_S - 1) * FS_PER_S + 999_999_999_999_999},
        {"next_leap_tai_s": ANCHOR_TAI_S + 1, "next_tai_minus_utc_s": 38},
        {"next_leap_tai_s": ANCHOR_TAI_S + 1, "next_tai_minus_utc_s": 36},
    ],
    ids=["plain", "fast", "era", "leap", "negative leap"],
)
def test_a_line_read_by_the_kernel_is_the_line_to_the_last_bit(changes: dict[str, object]) -> None:
    page = a_page(**changes)
    line, rate = line_of(page)
    draw = random.Random(73)
    near = [ANCHOR_RAW_NS + draw.randrange(-3 * NS, 3 * NS) for _ in range(150)]
    far = [ANCHOR_RAW_NS + round(draw.choice([-1, 1]) * 10 ** draw.uniform(9, 15.3)) for _ in range(150)]
    fitting = [raw_ns for raw_ns in near + far if line_fits(page, raw_ns)]
    assert len(fitting) > 250  # months from the anchor, but where a rate of 1 % makes days of them
    for raw_ns in fitting:
        seconds, fraction = stamp_of_line(line, rate, raw_ns)
        assert (int(seconds) << 32 | int(fraction)) == stamp_at(page, raw_ns)
    assert not line_fits(page, ANCHOR_RAW_NS + 2**53)


@given(st.integers(0, 2**64 - 1), st.integers(-(2**62), 2**62))
def test_differences_and_next_units_cross_an_eras_end(stamp: int, units: int) -> None:
    other = (stamp + units) % 2**64
    assert units_apart(other >> 32, other & 0xFFFF_FFFF, stamp >> 32, stamp & 0xFFFF_FFFF) == units
    seconds, fraction = next_unit(stamp >> 32, stamp & 0xFFFF_FFFF)
    assert (int(seconds) << 32 | int(fraction)) == (stamp + 1) % 2**64


def test_whatever_the_wall_clock_does_the_watch_believes_no_stamp_that_is_wrong_and_most_that_are_right() -> None:
    # The same host, the same readings: what the reference refuses is refused, and no stamp is off by more than 5 us.
    believed = refused = both = 0
    for seed in range(40):
        draw = random.Random(seed)
        at = [START_NS + draw.randrange(100_000_000, 900_000_000) for _ in range(draw.randrange(3))]
        host = SimulatedHost(
            steps=[(when, round(draw.choice([-1, 1]) * 10 ** draw.uniform(3, 12))) for when in at],
            slews=[(START_NS, draw.uniform(-1e-4, 1e-4))] if seed % 3 else [],
            interruptions=[(START_NS + draw.randrange(10**9), draw.randrange(200_000)) for _ in range(20)],
        )
        clocks = host.clocks()
        watch, pairs = rx_watch.new_watch()
        for _ in range(30):
            pair = clocks.take_pair()
            host.spend(3_000_000)
        rate = clocks.rate
        assert rate is not None
        while host.now_ns < START_NS + NS:
            not_before = host.now_ns
            pair = clocks.take_pair()
            rx_watch.note_pair(watch, pairs, clocks.rate, pair.raw_ns, pair.realtime_ns, 2 * pair.half_width_ns)
            host.spend(draw.randrange(1_000, 19_000_000))
            came = host.now_ns
            stamp = host.wall_at(came)
            host.spend(draw.randrange(2_000, 400_000))
            user = host.now_ns
            pair = clocks.take_pair()
            rx_watch.note_pair(watch, pairs, clocks.rate, pair.raw_ns, pair.realtime_ns, 2 * pair.half_width_ns)
            verdict = rx_watch.judge_batch(watch, pairs, clocks.rate, user, not_before)
            raw = user
            if verdict == rx_watch.BELIEVED:
                verdict, raw = rx_watch.carried_over(watch, pairs, clocks.rate, stamp, user, not_before)
            reference = clocks.rx_to_raw(stamp, user, not_before_raw_ns=not_before)
            if verdict == rx_watch.BELIEVED:
                assert abs(raw - came) <= rx_watch.LIMIT_NS + 100
                believed += 1
                both += reference.kind is StampKind.KERNEL and reference.raw_ns == raw
            else:
                refused += 1
                assert raw == user
    assert refused > 40
    assert believed > 20 * refused
    assert both > 0.98 * believed


def test_verdicts_stand_in_the_order_of_the_reasons_that_are_counted() -> None:
    named = [rx_watch.MISSING, rx_watch.RATE_NOT_LEARNED, rx_watch.PAIR_STALE, rx_watch.PAIR_GAP, rx_watch.PAIR_WIDE]
    named += [rx_watch.MOVED, rx_watch.AGE, rx_watch.OUTSIDE_WINDOW]
    assert [tuple(StampRefusal)[place].name for place in named] == [one.name for one in StampRefusal]


def a_message(level: int, kind: int, *data: int) -> list[int]:
    """Return a control message as the kernel lays it out, in whole words."""
    return [16 + 8 * len(data), level | kind << 32, *data]


@pytest.mark.parametrize(
    ("words", "stamp", "hardware"),
    [
        (a_message(1, 35, 7, 5), 7 * NS + 5, NO_STAMP),
        (a_message(1, 37, 7, 5, 0, 0, 9, 1), 7 * NS + 5, 9 * NS + 1),
        (a_message(1, 37, 0, 0, 0, 0, 9, 1), NO_STAMP, 9 * NS + 1),
        (a_message(41, 67, 3) + a_message(1, 35, 7, 5), 7 * NS + 5, NO_STAMP),
        (a_message(1, 35, 7, NS), NO_STAMP, NO_STAMP),
        (a_message(1, 35, -7, 5), NO_STAMP, NO_STAMP),
        (a_message(1, 35, 2**60, 5), NO_STAMP, NO_STAMP),
        (a_message(1, 35, 7), NO_STAMP, NO_STAMP),
        ([8, 1 | 35 << 32, 7, 5], NO_STAMP, NO_STAMP),
        ([2**62, 1 | 35 << 32, 7, 5], NO_STAMP, NO_STAMP),
        ([-32, 1 | 35 << 32, 7, 5], NO_STAMP, NO_STAMP),
        ([], NO_STAMP, NO_STAMP),
    ],
)
def test_control_messages_give_the_kernels_and_the_cards_stamp(words: list[int], stamp: int, hardware: int) -> None:
    control, found = np.zeros((1, 24), dtype=np.int64), np.zeros(FOUND_WORDS, dtype=np.int64)
    control[0, : len(words)] = words
    read_control(control, 0, 8 * len(words), found)
    assert (found[STAMP], found[HARDWARE], found[PACKET_INFO]) == (stamp, hardware, -1)
    for cut in range(8 * len(words)):  # whatever the length that is said, nothing beyond it is read
        read_control(control, 0, cut, found)
        assert found[STAMP] in {stamp, NO_STAMP}
    read_control(control, 0, 10**6, found)


@given(st.binary(min_size=192, max_size=192), st.integers(0, 400))
def test_no_octets_lead_a_walk_of_control_messages_astray(octets: bytes, length: int) -> None:
    control, found = np.frombuffer(octets, dtype=np.int64).reshape(1, 24).copy(), np.zeros(FOUND_WORDS, dtype=np.int64)
    read_control(control, 0, length, found)
    assert found[PACKET_INFO] < 22


def test_the_second_of_two_answers_is_stamped_ahead_by_less_than_the_first_takes() -> None:
    draw, state = random.Random(3), np.zeros(ntp_layout.STATE_WORDS, dtype=np.int64)
    took = [2 * draw.randrange(2_000, 9_000) for _ in range(1_000)]
    for number, one in enumerate(took):
        note_pair_took(state, one)
        ahead = int(state[ntp_layout.PAIR_AHEAD])
        assert ahead == 0 if number < 64 else 0 < ahead <= min(took[number - 63 : number + 1]) // 2
    note_pair_took(state, 1_000)  # a shorter one counts at once
    assert state[ntp_layout.PAIR_AHEAD] == 437
    for one in (0, -5, 10**9):  # the clock stood, a process was put to sleep: nothing is learned
        note_pair_took(state, one)
        assert state[ntp_layout.PAIR_AHEAD] == 437
    for _ in range(200):  # and is forgotten in its turn; nothing is put ahead by more than 5 us
        note_pair_took(state, 100_000)
    assert state[ntp_layout.PAIR_AHEAD] == 5_000
