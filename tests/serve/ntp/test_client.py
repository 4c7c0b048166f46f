"""The NTP client core: one valid reply, one thing broken at a time; and the client against our own server in memory."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.ntp.test_server import RAW, ask
from tests.serve.pages import LEAPS, a_page

from truechimer.instants import ntp64
from truechimer.serve import ServiceState, serve_at
from truechimer.serve.ntp import (
    AnswerDoubt,
    NtpAnswer,
    NtpHeader,
    NtpRequestMisuse,
    Reply,
    ReplyRejected,
    WhyRejected,
    make_request,
    read_reply,
    refid_text,
    transmit_stamp,
)

NONCE = 0x0123456789ABCDEF
T2 = 0xECB0_0000_8000_0000
VALID = NtpHeader(
    version=4,
    mode=4,
    stratum=2,
    poll=6,
    precision=-23,
    root_delay=66,
    root_dispersion=131,
    refid=bytes([192, 0, 2, 1]),
    reference=T2 - (5 << 32),
    origin=NONCE,
    receive=T2,
    transmit=T2 + 4295,
)


def read(**broken: object) -> NtpAnswer | ReplyRejected:
    return read_reply(dataclasses.replace(VALID, **broken).encode(), NONCE)  # type: ignore[arg-type]


def test_a_request_says_nothing_but_version_mode_and_nonce() -> None:
    octets = make_request(NONCE)
    assert octets == bytes([0x23]) + bytes(39) + NONCE.to_bytes(8, "big")


@pytest.mark.parametrize("nonce", [0, -1, 2**64])
def test_a_nonce_that_could_not_be_told_apart_is_misuse(nonce: int) -> None:
    with pytest.raises(NtpRequestMisuse):
        make_request(nonce)


def test_a_valid_reply_is_an_answer() -> None:
    answer = read()
    assert isinstance(answer, NtpAnswer)
    assert answer.doubt is None
    assert answer.kiss is None
    assert answer.root_delay_s == 66 / 65_536
    assert answer.root_dispersion_s == 131 / 65_536
    assert (answer.receive, answer.transmit) == (T2, T2 + 4295)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"origin": NONCE ^ 1}, WhyRejected.ORIGIN),
        ({"origin": 0}, WhyRejected.ORIGIN),
        ({"mode": 3}, WhyRejected.MODE),
        ({"mode": 5}, WhyRejected.MODE),
        ({"mode": 1}, WhyRejected.MODE),
        ({"version": 0}, WhyRejected.VERSION),
        ({"version": 5}, WhyRejected.VERSION),
        ({"receive": 0}, WhyRejected.ZERO_STAMP),
        ({"transmit": 0}, WhyRejected.ZERO_STAMP),
        # a forged kiss stops nobody: RFC 8633 5.4
        ({"origin": NONCE ^ 1, "stratum": 0, "refid": b"DENY"}, WhyRejected.ORIGIN),
    ],
)
def test_what_is_no_reply_to_us_is_rejected(broken: dict[str, object], reason: WhyRejected) -> None:
    assert read(**broken) == ReplyRejected(reason)


@pytest.mark.parametrize(
    ("broken", "doubt"),
    [
        ({"leap": 3}, AnswerDoubt.UNSYNCHRONISED),
        ({"stratum": 16}, AnswerDoubt.UNSYNCHRONISED),
        ({"stratum": 255}, AnswerDoubt.UNSYNCHRONISED),
        ({"stratum": 0, "refid": b"RATE"}, AnswerDoubt.KISS),
        ({"stratum": 0, "refid": bytes(4)}, AnswerDoubt.UNSYNCHRONISED),
        ({"root_dispersion": 16 * 65_536}, AnswerDoubt.ROOT_DISTANCE),
        ({"root_delay": 32 * 65_536}, AnswerDoubt.ROOT_DISTANCE),
        ({"reference": T2 + 4296}, AnswerDoubt.REFERENCE_AFTER_TRANSMIT),
        ({"transmit": T2 - 1, "reference": 0}, AnswerDoubt.TRANSMIT_BEFORE_RECEIVE),
    ],
)
def test_a_genuine_reply_that_must_not_be_used_says_why(broken: dict[str, object], doubt: AnswerDoubt) -> None:
    answer = read(**broken)
    assert isinstance(answer, NtpAnswer)
    assert answer.doubt is doubt


def test_a_kiss_code_is_read_as_text() -> None:
    answer = read(stratum=0, refid=b"DENY", leap=3, receive=0, transmit=0)
    assert isinstance(answer, NtpAnswer)
    assert answer.kiss == "DENY"


@given(st.binary(max_size=200))
def test_no_octets_make_the_client_raise(octets: bytes) -> None:
    read_reply(octets, NONCE)
    read_reply(VALID.encode()[:24] + NONCE.to_bytes(8, "big") + octets, NONCE)


def test_a_short_datagram_is_rejected() -> None:
    assert read_reply(VALID.encode()[:47], NONCE) == ReplyRejected(WhyRejected.SHORT)


@pytest.mark.parametrize(
    ("refid", "stratum", "text"),
    [
        (b"SIM\0", 1, "SIM"),
        (bytes(4), 0, ""),
        (bytes([127, 127, 1, 1]), 1, "127.127.1.1"),
        (b"INIT", 0, "INIT"),
        (bytes([192, 0, 2, 9]), 2, "192.0.2.9"),
        (b"\x1b[2J", 1, "[2J"),
    ],
)
def test_a_refid_is_shown_as_its_stratum_wants_and_never_as_control_codes(
    refid: bytes, stratum: int, text: str
) -> None:
    assert refid_text(refid, stratum=stratum) == text


def test_client_and_server_cores_agree_in_memory() -> None:
    reply = ask(make_request(NONCE))
    assert isinstance(reply, Reply)
    answer = read_reply(reply.with_transmit(transmit_stamp(reply, RAW + 1000, last=0)), NONCE)
    assert isinstance(answer, NtpAnswer)
    assert answer.doubt is None
    served = serve_at(a_page(), RAW)
    found = ntp64.to_instant(answer.receive, LEAPS, near=served.instant)
    assert 0 <= (served.instant - found).fs < 232_831  # the stamp is the last unit of 2^-32 s not after the instant


def test_the_client_refuses_what_our_server_calls_unsynchronised() -> None:
    reply = ask(make_request(NONCE), page=a_page(state=ServiceState.ALARM))
    assert isinstance(reply, Reply)
    answer = read_reply(reply.with_transmit(transmit_stamp(reply, RAW + 1000, last=0)), NONCE)
    assert isinstance(answer, NtpAnswer)
    assert answer.doubt is AnswerDoubt.UNSYNCHRONISED
