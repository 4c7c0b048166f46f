"""Version 5 as draft-09 has it: every field, every extension field that a server must know, and what is refused."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.ntp.test_server import CLIENT, RAW, request, rx_at
from tests.serve.pages import a_leap_page, a_page

from truechimer.instants import FS_PER_S
from truechimer.serve import ClockPage, ServiceState, serve_at
from truechimer.serve.ntp import Ignore, IgnoreReason, Kiss, Offers, Reply, ReplyKind, respond, transmit_stamp
from truechimer.serve.ntp.interleaved import SavedStamps
from truechimer.serve.ntp.mac import KeyKind, symmetric_key

DRAFT = b"draft-ietf-ntp-ntpv5-09"
COOKIE = bytes(range(1, 9))
KEY = symmetric_key(3, KeyKind.AES128, bytes(16))
OFFERS = Offers(ntpv5=True, reference_id=bytes(range(15)), poll_log2=2, keys={3: KEY})


def field(field_type: int, data: bytes = b"") -> bytes:
    return struct.pack(">HH", field_type, 4 + len(data)) + data + bytes(-len(data) % 4)


NAMED = field(0xF5FF, DRAFT)


def v5(fields: bytes = NAMED, *, timescale: int = 0, flags: int = 0, server_cookie: bytes = bytes(8)) -> bytes:
    head = bytes([0x2B, 0, 0, 0]) + bytes(8) + bytes([timescale, 0]) + flags.to_bytes(2, "big")
    return head + server_cookie + COOKIE + bytes(16) + fields


def ask(
    datagram: bytes, *, page: ClockPage | None = None, offers: Offers = OFFERS, kiss: Kiss | None = None
) -> Reply | Ignore:
    served = serve_at(page or a_page(), RAW)
    return respond(datagram, CLIENT, rx=rx_at(), served=served, precision_log2=-23, offers=offers, kiss=kiss)


def said(datagram: bytes, *, page: ClockPage | None = None, kiss: Kiss | None = None) -> bytes:
    reply = ask(datagram, page=page, kiss=kiss)
    assert isinstance(reply, Reply)
    octets = reply.with_transmit(transmit_stamp(reply, RAW + 20_000, last=0))
    assert len(octets) == len(datagram)
    return octets


def fields_in(octets: bytes) -> dict[int, bytes]:
    found, at = {}, 48
    while at < len(octets):
        kind, length = struct.unpack_from(">HH", octets, at)
        found[kind] = octets[at + 4 : at + length]
        at += -(-length // 4) * 4
    assert at == len(octets)
    return found


def test_every_field_stands_where_the_draft_puts_it() -> None:
    page = a_page(root_delay_s=1e-6)
    octets = said(v5(), page=page)
    served = serve_at(page, RAW)
    assert octets[0] == 0x2C  # LI 0, version 5, mode 4
    assert octets[1] == 1
    assert struct.unpack_from(">bb", octets, 2) == (2, -23)  # the least poll, not a copy
    delay, dispersion = struct.unpack_from(">II", octets, 4)
    assert delay == 269  # 1 us in 2^-28 s, rounded up
    assert dispersion / 2**28 == pytest.approx(200e-9 + 5e-6, rel=0.01)
    assert octets[12:14] == bytes([0, 0])  # UTC, era 0
    assert octets[14:16] == b"\0\1"  # synchronised
    assert octets[16:24] == bytes(8)
    assert octets[24:32] == COOKIE
    receive, transmit = struct.unpack_from(">QQ", octets, 32)
    utc_s = served.instant.tai_fs / FS_PER_S - 37 + 2_208_988_800  # type: ignore[union-attr]
    assert receive / 2**32 == pytest.approx(utc_s, abs=1e-6)
    assert (transmit - receive) / 2**32 == pytest.approx(20e-6, abs=1e-9)
    assert fields_in(octets) == {0xF5FF: DRAFT}


def test_tai_is_served_to_who_asks_and_utc_for_what_we_do_not_have() -> None:
    utc, tai = said(v5()), said(v5(timescale=1))
    assert struct.unpack_from(">Q", tai, 32)[0] - struct.unpack_from(">Q", utc, 32)[0] == 37 << 32
    assert struct.unpack_from(">Q", tai, 40)[0] - struct.unpack_from(">Q", utc, 40)[0] == 37 << 32
    assert tai[12] == 1
    assert said(v5(timescale=2))[12] == said(v5(timescale=3))[12] == 0


def test_the_era_is_that_of_the_receive_stamp() -> None:
    page = a_page(anchor_tai_fs=(2**32 - 2_208_988_800 + 36) * FS_PER_S, leap_expires_tai_s=2**40)
    assert said(v5(), page=page)[13] in {0, 1}
    ahead = a_page(anchor_tai_fs=(2**32 - 2_208_988_800 + 37 - 20) * FS_PER_S, leap_expires_tai_s=2**40)
    octets_utc, octets_tai = said(v5(), page=ahead), said(v5(timescale=1), page=ahead)
    assert (octets_utc[13], octets_tai[13]) == (0, 1)
    assert octets_tai[32:34] == b"\0\0"


def test_a_leap_is_told_fourteen_days_ahead() -> None:
    page = a_leap_page(inserted_s=1)
    assert page.next_leap_tai_s is not None
    for days, leap in ((13.9, 1), (14.1, 0)):
        shifted = a_page(
            anchor_tai_fs=page.next_leap_tai_s * FS_PER_S - round(days * 86_400 * FS_PER_S),
            next_leap_tai_s=page.next_leap_tai_s,
            next_tai_minus_utc_s=38,
            leap_expires_tai_s=2**40,
        )
        assert said(v5(), page=shifted)[0] >> 6 == leap


def test_what_a_server_must_know_is_answered_and_the_rest_is_padding() -> None:
    asked = NAMED + field(0xF505, bytes(4)) + field(0xF503, struct.pack(">H", 16) + bytes(30)) + field(0xF123, bytes(9))
    found = fields_in(said(v5(asked)))
    assert found.keys() == {0xF5FF, 0xF505, 0xF504, 0xF501}
    assert found[0xF505] == struct.pack(">HH", 0b11111, 0)
    assert len(found[0xF504]) == 32
    assert not any(found[0xF501])


def test_the_filter_holds_our_own_id_and_that_of_our_reference() -> None:
    whole = b"".join(
        fields_in(said(v5(NAMED + field(0xF503, struct.pack(">H", at) + bytes(126)))))[0xF504]
        for at in range(0, 512, 128)
    )
    for one in (bytes(range(15)), hashlib.md5(b"TRUE").digest()[:15]):
        for k in range(10):
            place = int.from_bytes(one, "big") >> (12 * (9 - k)) & 0xFFF
            assert whole[place // 8] >> place % 8 & 1
    assert sum(octet.bit_count() for octet in whole) <= 20


def test_a_filter_that_is_asked_for_beyond_its_end_is_not_given() -> None:
    assert 0xF504 not in fields_in(said(v5(NAMED + field(0xF503, struct.pack(">H", 400) + bytes(126)))))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (b"", IgnoreReason.DRAFT_UNKNOWN),
        (field(0xF5FF, DRAFT[:-1] + b"8"), IgnoreReason.DRAFT_UNKNOWN),
        (field(0xF5FF, DRAFT + b"9"), IgnoreReason.DRAFT_UNKNOWN),
        (field(0xF5FF, DRAFT + b"\0"), IgnoreReason.DRAFT_UNKNOWN),
        (NAMED + b"\0\0\0", IgnoreReason.EXTENSION_MALFORMED),
        (NAMED + struct.pack(">HH", 0xF501, 3), IgnoreReason.EXTENSION_MALFORMED),
        (NAMED + struct.pack(">HH", 0xF501, 8), IgnoreReason.EXTENSION_MALFORMED),
        (NAMED + field(0xF501) * 70, IgnoreReason.EXTENSION_MALFORMED),
    ],
)
def test_other_drafts_and_broken_fields_are_refused_by_name(fields: bytes, reason: IgnoreReason) -> None:
    assert ask(v5(fields)) == Ignore(reason)


def test_without_the_switch_version_5_does_not_exist() -> None:
    assert ask(v5(), offers=Offers()) == Ignore(IgnoreReason.VERSION)
    offer = request()[:16] + b"NTP5DRFT" + request()[24:]
    assert said_v4(offer, Offers())[16:24] != b"NTP5DRFT"
    for version in (1, 2, 3, 4):
        older = bytes([version << 3 | 3]) + offer[1:]
        assert said_v4(older, OFFERS)[16:24] == b"NTP5DRFT"
    assert said_v4(request(), OFFERS)[16:24] != b"NTP5DRFT"


def said_v4(datagram: bytes, offers: Offers) -> bytes:
    reply = ask(datagram, offers=offers)
    assert isinstance(reply, Reply)
    return reply.with_transmit(1)


def test_a_key_seals_the_answer_in_its_last_field() -> None:
    asked = v5()
    sealed = asked + field(0xF502, KEY.seal(asked))
    octets = said(sealed)
    assert KEY.verifies(octets[:-24], octets[-16:])
    assert octets[15] == 1


@pytest.mark.parametrize("code", [bytes(16), bytes(20), b"", bytes(300)])
def test_who_cannot_prove_a_key_gets_no_time_but_the_flag(code: bytes) -> None:
    octets = said(v5() + field(0xF502, (3).to_bytes(4, "big") + code))
    assert (octets[1], octets[15], octets[32:48]) == (0, 4, bytes(16))
    assert 0xF502 not in fields_in(octets)


def test_a_kiss_is_a_poll() -> None:
    for kiss, poll in ((Kiss.RATE, 2), (Kiss.DENY, 127)):
        octets = said(v5(), kiss=kiss)
        assert (octets[1], octets[2], octets[15], octets[32:48]) == (0, poll, 0, bytes(16))


def test_no_time_is_said_by_flags_and_stratum() -> None:
    octets = said(v5(), page=a_page(state=ServiceState.ALARM))
    assert (octets[0] >> 6, octets[1], octets[15], octets[32:48]) == (3, 0, 0, bytes(16))
    assert said(v5(), page=a_page(bound_s=15.9999999))[1] == 0


def test_interleaved_answers_go_by_the_server_cookie() -> None:
    offers = Offers(ntpv5=True, saved=SavedStamps(sets=4))
    first = ask(v5(flags=2), offers=offers)
    assert isinstance(first, Reply)
    assert first.remember is not None
    offers.saved.save(first.remember, 4295, RAW)  # type: ignore[union-attr]
    head = first.with_transmit(1)
    assert (head[15], head[16:24]) == (1, head[32:40])
    second = ask(v5(flags=2, server_cookie=head[16:24], timescale=1), offers=offers)
    assert isinstance(second, Reply)
    octets = second.with_transmit(1)
    assert octets[15] == 3
    told = int.from_bytes(octets[40:48], "big")
    assert told == int.from_bytes(head[16:24], "big") + 4295 + (37 << 32)
    third = ask(v5(flags=2, server_cookie=head[16:24]), offers=offers)
    assert isinstance(third, Reply)
    assert third.kind is ReplyKind.SYNCHRONISED
    assert third.head[15] == 1  # each serves once


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 65535))
def test_no_octets_make_it_raise_and_an_answer_is_as_long_as_its_request(
    tail: bytes, timescale: int, flags: int
) -> None:
    for datagram in (v5(tail, timescale=timescale, flags=flags), v5(NAMED + tail[: len(tail) // 4 * 4], flags=flags)):
        reply = ask(datagram)
        if isinstance(reply, Reply):
            assert len(reply.with_transmit(1)) == len(datagram)
