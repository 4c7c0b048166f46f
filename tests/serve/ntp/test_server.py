"""The NTP server core: what it answers, with which fields, and what it refuses by which name."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.pages import ANCHOR_RAW_NS, LEAPS, NS, a_leap_page, a_page

from truechimer.instants import FS_PER_S, Instant, ntp64
from truechimer.serve import (
    STAMP_HANDLING_LIMIT_S,
    ClockPage,
    RxStamp,
    ServiceState,
    StampKind,
    Unsynchronised,
    WhyUnsynchronised,
    serve_at,
)
from truechimer.serve.ntp import (
    SIMULATED_ANCHOR_DOUBT_S,
    Client,
    Ignore,
    IgnoreReason,
    NtpHeader,
    Reply,
    ReplyKind,
    decode,
    respond,
    transmit_stamp,
)

CLIENT = Client("192.0.2.7", 40123)
RAW = ANCHOR_RAW_NS + 3 * NS
UNIT_S = 2.0**-16


def rx_at(raw_ns: int = RAW) -> RxStamp:
    return RxStamp(raw_ns, StampKind.KERNEL, STAMP_HANDLING_LIMIT_S)


def request(
    *, leap: int = 0, version: int = 4, mode: int = 3, poll: int = 6, transmit: int = 0xE1B2C3D4_01020304
) -> bytes:
    return NtpHeader(leap=leap, version=version, mode=mode, poll=poll, transmit=transmit).encode()


def ask(
    datagram: bytes, *, page: ClockPage | None = None, client: Client = CLIENT, raw_ns: int = RAW
) -> Reply | Ignore:
    served = serve_at(page or a_page(), raw_ns)
    return respond(datagram, client, rx=rx_at(raw_ns), served=served, precision_log2=-23)


def answer(datagram: bytes, *, page: ClockPage | None = None, raw_ns: int = RAW) -> NtpHeader:
    """Return the decoded reply, sent 20 us after the request came."""
    reply = ask(datagram, page=page, raw_ns=raw_ns)
    assert isinstance(reply, Reply)
    header = decode(reply.with_transmit(transmit_stamp(reply, raw_ns + 20_000, last=0)))
    assert header is not None
    return header


def test_a_client_gets_every_field_as_the_rfc_says() -> None:
    page = a_page(root_delay_s=1e-5)
    header = answer(request(), page=page)
    served = serve_at(page, RAW)
    assert header.leap == 0  # RFC 5905 figure 9: no warning
    assert header.version == 4  # A.5.3: copied
    assert header.mode == 4  # figure 10: server
    assert header.stratum == 1  # figure 11: primary
    assert header.poll == 6  # A.5.3: copied
    assert header.precision == -23  # 7.3
    assert header.root_delay == 1  # 10 us, rounded up to 2^-16 s: section 6
    assert header.root_dispersion == 1  # 230 ns and 5 us of stamp handling, rounded up
    assert header.refid == b"TRUE"  # figure 12
    assert header.origin == 0xE1B2C3D4_01020304  # section 8: T1 bit for bit
    assert header.receive == ntp64.from_instant(served.instant, LEAPS)  # T2
    assert header.reference == ntp64.from_instant(Instant(page.anchor_tai_fs), LEAPS)  # 7.3: when last set
    assert 20e-6 - 1e-9 <= (header.transmit - header.receive) / 2**32 <= 20e-6 + 1e-9  # T3 - T2


@given(st.integers(0, 2**64 - 1))
def test_the_origin_is_the_client_transmit_stamp_bit_for_bit(transmit: int) -> None:
    assert answer(request(transmit=transmit)).origin == transmit


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_versions_one_to_four_are_answered_in_kind(version: int) -> None:
    assert answer(request(version=version)).version == version


@pytest.mark.parametrize("version", [0, 5, 6, 7])
def test_other_versions_are_refused(version: int) -> None:
    assert ask(request(version=version)) == Ignore(IgnoreReason.VERSION)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", [0, 1, 2, 4, 5, 6, 7])
def test_only_client_mode_is_answered_in_any_version(mode: int, version: int) -> None:
    reason = IgnoreReason.MODE_CONTROL if mode in {6, 7} else IgnoreReason.MODE_NOT_CLIENT
    assert ask(request(mode=mode, version=version)) == Ignore(reason)


def test_our_own_replies_are_never_answered() -> None:
    reply = ask(request())
    assert isinstance(reply, Reply)
    assert ask(reply.with_transmit(1)) == Ignore(IgnoreReason.MODE_NOT_CLIENT)


@pytest.mark.parametrize(("asked", "given_back"), [(6, 6), (-6, -6), (17, 17), (127, 17), (-128, -6), (0, 0)])
def test_the_poll_is_copied_unless_absurd(asked: int, given_back: int) -> None:
    assert answer(request(poll=asked)).poll == given_back


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (bytes(4), IgnoreReason.MAC_UNSUPPORTED),
        (bytes(20), IgnoreReason.MAC_UNSUPPORTED),
        (bytes(24), IgnoreReason.MAC_UNSUPPORTED),
        (struct.pack(">HH", 0xF000, 16) + bytes(12 + 20), IgnoreReason.MAC_UNSUPPORTED),
        (bytes(8), IgnoreReason.EXTENSION_MALFORMED),
        (bytes(1), IgnoreReason.EXTENSION_MALFORMED),
        (struct.pack(">HH", 0xF000, 0) + bytes(60), IgnoreReason.EXTENSION_MALFORMED),
    ],
)
def test_a_tail_that_cannot_be_honoured_is_refused_by_name(tail: bytes, reason: IgnoreReason) -> None:
    assert ask(request() + tail) == Ignore(reason)


def test_unknown_extension_fields_are_passed_over_and_the_answer_carries_none() -> None:
    reply = ask(request() + struct.pack(">HH", 0xF5FF, 28) + bytes(24))
    assert isinstance(reply, Reply)
    assert len(reply.with_transmit(1)) == 48


def test_source_port_zero_cannot_be_answered() -> None:
    assert ask(request(), client=Client("192.0.2.7", 0)) == Ignore(IgnoreReason.SOURCE_PORT_ZERO)


@pytest.mark.parametrize("octets", range(48))
def test_a_short_datagram_is_refused(octets: int) -> None:
    assert ask(request()[:octets]) == Ignore(IgnoreReason.SHORT)


@given(bound_s=st.floats(0, 15.9), delay_s=st.floats(0, 0.1))
def test_the_bound_on_the_wire_is_never_below_the_bound_nor_above_it_by_more_than_a_unit(
    bound_s: float, delay_s: float
) -> None:
    header = answer(request(), page=a_page(bound_s=bound_s, root_delay_s=delay_s))
    stated_s = ntp64.short_to_seconds(header.root_dispersion)
    true_s = serve_at(a_page(bound_s=bound_s), RAW).bound_s + STAMP_HANDLING_LIMIT_S
    assert true_s <= stated_s < true_s + UNIT_S + 1e-12
    assert delay_s <= ntp64.short_to_seconds(header.root_delay) <= delay_s + UNIT_S


def test_a_simulated_laboratory_adds_its_second_of_doubt_and_keeps_its_refid() -> None:
    real = answer(request())
    simulated = answer(request(), page=a_page(simulated=True, refid=b"SIM\0"))
    assert simulated.refid == b"SIM\0"
    assert simulated.root_dispersion - real.root_dispersion == SIMULATED_ANCHOR_DOUBT_S * 65_536
    assert simulated.stratum == 1


def test_a_user_stamp_widens_the_stated_dispersion() -> None:
    served = serve_at(a_page(), RAW)
    reply = respond(request(), CLIENT, rx=RxStamp(RAW, StampKind.USER, 100e-6), served=served, precision_log2=-23)
    assert isinstance(reply, Reply)
    header = decode(reply.with_transmit(1))
    assert header is not None
    assert ntp64.short_to_seconds(header.root_dispersion) >= 100e-6


@pytest.mark.parametrize(
    ("state", "refid"),
    [(ServiceState.FREERUN, b"INIT"), (ServiceState.ACQUIRING, b"INIT"), (ServiceState.ALARM, bytes(4))],
)
def test_an_unsynchronised_answer_says_so_in_every_field(state: ServiceState, refid: bytes) -> None:
    page = a_page(state=state)
    header = answer(request(), page=page)
    assert header.leap == 3  # RFC 5905 figure 9: clock unsynchronised
    assert header.stratum == 0  # 7.3: MAXSTRAT is 0 on the wire
    assert header.refid == refid  # figure 13: INIT before the first synchronisation
    assert header.root_dispersion >= 16 * 65_536  # figure 5: MAXDISP
    assert header.reference == 0  # section 6: not known
    assert header.origin == 0xE1B2C3D4_01020304
    assert header.mode == 4
    assert header.receive == ntp64.from_instant(serve_at(page, RAW).instant, LEAPS)
    reply = ask(request(), page=page)
    assert isinstance(reply, Reply)
    assert reply.kind is ReplyKind.UNSYNCHRONISED
    assert reply.because is WhyUnsynchronised(state.value)


def test_without_a_page_both_stamps_are_zero() -> None:
    served = Unsynchronised(WhyUnsynchronised.NO_PAGE)
    reply = respond(request(), CLIENT, rx=rx_at(), served=served, precision_log2=-23)
    assert isinstance(reply, Reply)
    header = decode(reply.with_transmit(transmit_stamp(reply, RAW, last=77)))
    assert header is not None
    assert (header.leap, header.stratum, header.receive, header.transmit) == (3, 0, 0, 0)


@pytest.mark.parametrize("bound_s", [16.0, 1e9, 1e300])
def test_a_bound_that_ntp_cannot_state_is_unsynchronised(bound_s: float) -> None:
    reply = ask(request(), page=a_page(bound_s=bound_s))
    assert isinstance(reply, Reply)
    assert reply.because is WhyUnsynchronised.BOUND_TOO_WIDE
    header = decode(reply.with_transmit(1))
    assert header is not None
    assert header.leap == 3
    assert header.root_dispersion >= 16 * 65_536


@pytest.mark.parametrize(("inserted_s", "leap"), [(1, 1), (-1, 2)])
def test_the_leap_indicator_warns_on_the_last_day(inserted_s: int, leap: int) -> None:
    assert answer(request(), page=a_leap_page(inserted_s=inserted_s)).leap == leap


def test_stamps_repeat_23_59_59_through_an_inserted_second() -> None:
    page = a_leap_page(inserted_s=1)
    assert page.next_leap_tai_s is not None
    midnight_raw = ANCHOR_RAW_NS + (page.next_leap_tai_s * FS_PER_S - page.anchor_tai_fs) // 10**6
    seconds = [
        answer(request(), page=page, raw_ns=midnight_raw + round(at_s * NS)).receive / 2**32
        - 2_208_988_800
        - 1_767_225_600
        for at_s in (-1.5, -0.5, 0.5)
    ]
    assert seconds == pytest.approx([-0.5, -0.5, 0.5], abs=1e-6)


def test_the_era_wraps_in_2036_without_a_seam() -> None:
    era_end_tai_fs = ((1 << 32) - 2_208_988_800 + 37) * FS_PER_S
    page = a_page(
        anchor_tai_fs=era_end_tai_fs - FS_PER_S, rate=0.0, leap_expires_tai_s=era_end_tai_fs // FS_PER_S + 10**6
    )
    before = answer(request(), page=page, raw_ns=ANCHOR_RAW_NS + NS - 10_000)  # T2 before the end of era 0, T3 after it
    assert before.receive > 2**63
    assert 0 < before.transmit < 2**32
    assert (before.transmit - before.receive) % 2**64 / 2**32 == pytest.approx(20e-6, abs=1e-9)


@given(gap_ns=st.integers(-6_000, 6_000))
def test_the_transmit_stamp_is_after_the_receive_stamp_even_where_that_came_late(gap_ns: int) -> None:
    reply = ask(request())
    assert isinstance(reply, Reply)
    assert transmit_stamp(reply, RAW + gap_ns, last=0) > reply.receive


@given(steps_ns=st.lists(st.integers(0, 1), min_size=2, max_size=50))
def test_no_two_replies_carry_one_transmit_stamp(steps_ns: list[int]) -> None:
    last, seen, raw_ns = 0, [], RAW + 10_000
    for step_ns in steps_ns:
        raw_ns += step_ns
        reply = ask(request())
        assert isinstance(reply, Reply)
        last = transmit_stamp(reply, raw_ns, last=last)
        seen.append(last)
    assert seen == sorted(set(seen))


def test_a_page_that_sets_time_back_is_followed_at_once() -> None:
    reply = ask(request())
    assert isinstance(reply, Reply)
    stamp = transmit_stamp(reply, RAW + 20_000, last=0)
    ahead = stamp + 2**32  # the reply before this one was a second ahead, by another page
    assert transmit_stamp(reply, RAW + 20_000, last=ahead) == stamp


def test_the_reference_is_never_after_the_transmit_stamp() -> None:
    header = answer(request(), raw_ns=ANCHOR_RAW_NS - NS // 2)
    assert header.reference <= header.transmit
    assert math.isclose((header.transmit - header.reference) / 2**32, 20e-6, abs_tol=1e-9)
