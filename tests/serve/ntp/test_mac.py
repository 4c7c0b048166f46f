"""Symmetric keys: the codes of RFC 4493 section 4, the file, and who gets an authenticated answer."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.ntp.test_packet import field
from tests.serve.ntp.test_server import CLIENT, RAW, ask, request, rx_at
from tests.serve.pages import a_page

from truechimer.serve import serve_at
from truechimer.serve.ntp import (
    Ignore,
    IgnoreReason,
    Kiss,
    NtpAnswer,
    Offers,
    Reply,
    ReplyKind,
    ReplyRejected,
    WhyRejected,
    make_request,
    read_reply,
    respond,
    transmit_stamp,
)
from truechimer.serve.ntp.mac import KeyFileRejected, KeyKind, SymmetricKey, read_keys, symmetric_key

AES = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
KEYS = [
    symmetric_key(1, KeyKind.AES128, AES),
    symmetric_key(7, KeyKind.SHA1, b"a secret"),
    symmetric_key(70_000, KeyKind.SHA512, b"another"),
    symmetric_key(9, KeyKind.MD5, b"old"),
]
RING = {key.key_id: key for key in KEYS}


@pytest.mark.parametrize(
    ("octets", "code"),  # RFC 4493 section 4, examples 1 to 4
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_aes_cmac_gives_the_codes_of_its_rfc(octets: int, code: str) -> None:
    assert KEYS[0].code(MESSAGE[:octets]).hex() == code


def test_a_digest_is_of_key_and_packet_and_no_longer_than_20_octets() -> None:
    assert KEYS[3].code(b"x") == hashlib.md5(b"oldx").digest()
    assert KEYS[2].code(b"x") == hashlib.sha512(b"anotherx").digest()[:20]


def test_a_secret_is_never_shown() -> None:
    assert "2b7e" not in repr(KEYS[0])
    assert "secret" not in repr(KEYS[1])


def test_both_ways_of_writing_a_key_file_are_read() -> None:
    ring = read_keys(
        b"# keys\n1 AES128 HEX:2b7e151628aed2a6abf7158809cf4f3c\n\n7 sha1 ASCII:secret # comment\n"
        b"9 M old\n10 plain\n11 AES-CMAC 0123456789abcdef\n12 SHA256 #12\n"
    )
    assert {key_id: (key.kind, key.secret) for key_id, key in ring.items()} == {
        1: (KeyKind.AES128, AES),
        7: (KeyKind.SHA1, b"secret"),
        9: (KeyKind.MD5, b"old"),
        10: (KeyKind.MD5, b"plain"),
        11: (KeyKind.AES128, b"0123456789abcdef"),
        12: (KeyKind.SHA256, b"#12"),
    }


@pytest.mark.parametrize(
    "line",
    [
        b"0 AES128 0123456789abcdef",
        b"4294967296 MD5 x",
        b"-1 MD5 x",
        b"one MD5 x",
        b"1 DES x",
        b"1 AES128 tooshort",
        b"1 AES128 0123456789abcdef0",
        b"1 SHA1 HEX:abc",
        b"1 SHA1 HEX:zz",
        b"1 SHA1 ASCII:",
        b"1 AES128 2b7e151628aed2a6abf7158809cf4f3c",  # text to one program, digits to the other
        b"1 MD5 x y",
        b"1",
        b"1 MD5 \xff",
        b"1 MD5 x\n1 MD5 y",
    ],
)
def test_a_line_that_cannot_be_a_key_is_refused_with_its_number(line: bytes) -> None:
    with pytest.raises(KeyFileRejected) as caught:
        read_keys(b"# first\n" + line)
    assert caught.value.line >= 2


@given(st.binary(max_size=200))
def test_any_octets_are_keys_or_rejected(data: bytes) -> None:
    try:
        read_keys(data)
    except KeyFileRejected:
        return


def ask_with(datagram: bytes, *, kiss: Kiss | None = None) -> Reply | Ignore:
    served = serve_at(a_page(), RAW)
    return respond(datagram, CLIENT, rx=rx_at(), served=served, precision_log2=-23, offers=Offers(keys=RING), kiss=kiss)


def sent(reply: Reply | Ignore) -> bytes:
    assert isinstance(reply, Reply)
    return reply.with_transmit(transmit_stamp(reply, RAW + 20_000, last=0))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.kind)
@pytest.mark.parametrize("fields", [b"", field(16), field(28, field_type=0x0104) + field(40)])
@pytest.mark.parametrize("version", [3, 4])
def test_who_holds_a_key_gets_an_answer_sealed_with_it(key: SymmetricKey, fields: bytes, version: int) -> None:
    if version == 3 and fields:
        return
    asked = request(version=version) + fields
    octets = sent(ask_with(asked + key.seal(asked)))
    assert key.verifies(octets[:48], octets[52:])
    assert int.from_bytes(octets[48:52], "big") == key.key_id
    assert octets[1] == 1
    assert len(octets) <= len(asked) + 4 + len(key.code(b""))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.kind)
def test_a_kiss_to_who_holds_a_key_is_sealed_too(key: SymmetricKey) -> None:
    asked = request()
    octets = sent(ask_with(asked + key.seal(asked), kiss=Kiss.RATE))
    assert octets[12:16] == b"RATE"
    assert key.verifies(octets[:48], octets[52:])


def test_the_matrix_of_keys_has_only_its_diagonal() -> None:
    asked = request()
    for one in KEYS:
        for other in KEYS:
            forged = asked + one.key_id.to_bytes(4, "big") + other.code(asked)
            reply = ask_with(forged)
            assert isinstance(reply, Reply)
            right = one is other
            assert reply.kind is (ReplyKind.SYNCHRONISED if right else ReplyKind.NAK_BAD_MAC)


@pytest.mark.parametrize(
    ("key_id", "octets", "kind"), [(5, 16, ReplyKind.NAK_UNKNOWN_KEY), (1, 16, ReplyKind.NAK_BAD_MAC)]
)
def test_who_cannot_prove_a_key_hears_a_crypto_nak_that_gives_no_time(
    key_id: int, octets: int, kind: ReplyKind
) -> None:
    asked = request() + key_id.to_bytes(4, "big") + bytes(octets)
    reply = ask_with(asked)
    assert isinstance(reply, Reply)
    assert reply.kind is kind
    said = sent(reply)
    assert said[48:] == bytes(4)  # RFC 5905 9.2
    assert (said[0] >> 6, said[1]) == (3, 0)
    assert said[24:32] == asked[40:48]
    assert len(said) <= len(asked)


def test_a_crypto_nak_is_never_answered_and_a_door_without_keys_says_nothing() -> None:
    assert ask_with(request() + bytes(4)) == Ignore(IgnoreReason.CRYPTO_NAK)
    assert ask(request() + bytes(20)) == Ignore(IgnoreReason.MAC_UNSUPPORTED)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.kind)
def test_a_client_with_a_key_believes_only_what_is_sealed_with_it(key: SymmetricKey) -> None:
    octets = sent(ask_with(make_request(77, key=key)))
    answer = read_reply(octets, 77, key=key)
    assert isinstance(answer, NtpAnswer)
    assert answer.doubt is None
    refused = ReplyRejected(WhyRejected.CODE)
    assert read_reply(octets[:48], 77, key=key) == refused  # the code taken off
    assert read_reply(octets[:48] + bytes(4), 77, key=key) == refused  # a crypto-NAK stops nobody
    for place in range(len(octets)):
        broken = bytearray(octets)
        broken[place] ^= 1
        assert isinstance(read_reply(bytes(broken), 77, key=key), ReplyRejected)
    kiss = sent(ask_with(make_request(77, key=key), kiss=Kiss.DENY))
    told = read_reply(kiss, 77, key=key)
    assert isinstance(told, NtpAnswer)
    assert told.kiss == "DENY"
    assert read_reply(kiss[:48], 77, key=key) == refused  # nor does a kiss that anybody could have made
