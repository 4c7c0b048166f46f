"""The NTP packet: figure 8 of RFC 5905 octet by octet, and the walk of what follows."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.serve.ntp.packet import ExtensionField, NtpHeader, Tail, TailKind, decode, tail_of, walk_tail

HEADER = bytes(48)

headers = st.builds(
    NtpHeader,
    leap=st.integers(0, 3),
    version=st.integers(0, 7),
    mode=st.integers(0, 7),
    stratum=st.integers(0, 255),
    poll=st.integers(-128, 127),
    precision=st.integers(-128, 127),
    root_delay=st.integers(0, 2**32 - 1),
    root_dispersion=st.integers(0, 2**32 - 1),
    refid=st.binary(min_size=4, max_size=4),
    reference=st.integers(0, 2**64 - 1),
    origin=st.integers(0, 2**64 - 1),
    receive=st.integers(0, 2**64 - 1),
    transmit=st.integers(0, 2**64 - 1),
)


def field(octets: int, *, field_type: int = 0xF000, said: int | None = None) -> bytes:
    """Return an extension field of `octets` octets that says it has `said`."""
    return struct.pack(">HH", field_type, octets if said is None else said) + bytes(octets - 4)


@given(headers)
def test_a_header_survives_the_wire(header: NtpHeader) -> None:
    assert decode(header.encode()) == header


@given(st.binary(min_size=48, max_size=48))
def test_every_48_octets_are_a_header_and_come_back(octets: bytes) -> None:
    header = decode(octets)
    assert header is not None
    assert header.encode() == octets


@given(st.binary(max_size=47))
def test_fewer_than_48_octets_are_no_header(octets: bytes) -> None:
    assert decode(octets) is None


def test_each_field_stands_where_figure_8_puts_it() -> None:
    octets = NtpHeader(
        leap=1,
        version=4,
        mode=4,
        stratum=1,
        poll=6,
        precision=-23,
        root_delay=0x00010002,
        root_dispersion=0x00030004,
        refid=b"TRUE",
        reference=0x0102030405060708,
        origin=0x1112131415161718,
        receive=0x2122232425262728,
        transmit=0x3132333435363738,
    ).encode()
    assert octets.hex(" ", 4) == (
        "640106e9 "  # LI 1, VN 4, mode 4: 01 100 100; stratum 1; poll 6; precision -23: RFC 5905 figure 8, word 0
        "00010002 "  # root delay: NTP short format, section 6
        "00030004 "  # root dispersion
        "54525545 "  # reference id: figure 12, left-justified ASCII
        "01020304 05060708 "  # reference timestamp: NTP timestamp format, section 6
        "11121314 15161718 "  # origin
        "21222324 25262728 "  # receive
        "31323334 35363738"  # transmit
    )


@pytest.mark.parametrize(
    ("tail", "kind", "lengths", "mac_octets"),
    [
        (b"", TailKind.BARE, [], 0),
        (field(28), TailKind.FIELDS, [28], 0),  # RFC 7822 7.5.1.4: 28 is the least for a last field without a MAC
        (field(16) + field(28), TailKind.FIELDS, [16, 28], 0),  # RFC 7822 7.5: 16 is enough for one that is not last
        (field(1000), TailKind.FIELDS, [1000], 0),
        (bytes(4), TailKind.MAC, [], 4),  # crypto-NAK
        (bytes(20), TailKind.MAC, [], 20),  # key id and MD5, or AES-CMAC: RFC 8573 3
        (bytes(24), TailKind.MAC, [], 24),  # key id and SHA-1
        (field(16) + bytes(20), TailKind.MAC, [16], 20),
        (field(28) + bytes(4), TailKind.MAC, [28], 4),
        (bytes(8), TailKind.MALFORMED, [], 0),  # neither a MAC nor a field
        (bytes(16), TailKind.MALFORMED, [], 0),
        (bytes(27), TailKind.MALFORMED, [], 0),
        (field(28, said=12) + bytes(24), TailKind.MALFORMED, [], 0),  # below 16
        (field(28, said=0), TailKind.MALFORMED, [], 0),  # a length of 0 must not loop for ever
        (field(28, said=30) + bytes(26), TailKind.MALFORMED, [], 0),  # not a multiple of 4
        (field(28, said=32), TailKind.MALFORMED, [], 0),  # longer than the datagram
        (field(28, said=0xFFFC), TailKind.MALFORMED, [], 0),
        (field(32) + bytes(8), TailKind.MALFORMED, [32], 0),
        (bytes(2), TailKind.MALFORMED, [], 0),
    ],
)
def test_what_follows_the_header_is_told_by_its_lengths(
    tail: bytes, kind: TailKind, lengths: list[int], mac_octets: int
) -> None:
    walked = walk_tail(HEADER + tail, version=4)
    assert walked.kind is kind
    assert [known.octets for known in walked.fields] == lengths
    assert walked.mac_octets == mac_octets


def test_a_field_tells_its_type_and_place() -> None:
    walked = walk_tail(HEADER + field(16, field_type=0x0104) + field(32, field_type=0x0204), version=4)
    assert walked == Tail(TailKind.FIELDS, (ExtensionField(0x0104, 48, 16), ExtensionField(0x0204, 64, 32)))


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (4, TailKind.MAC),
        (12, TailKind.MAC),
        (20, TailKind.MAC),
        (24, TailKind.MAC),
        (28, TailKind.MALFORMED),
        (1, TailKind.MALFORMED),
    ],
)
def test_before_version_4_there_are_macs_but_no_fields(octets: int, kind: TailKind) -> None:
    assert walk_tail(HEADER + bytes(octets), version=3).kind is kind


@given(tail=st.binary(max_size=600), version=st.integers(1, 4))
def test_the_walk_ends_on_any_octets_and_its_fields_tile_the_tail(tail: bytes, version: int) -> None:
    walked = walk_tail(HEADER + tail, version=version)
    at = 48
    for known in walked.fields:
        assert known.start == at
        assert known.octets >= 16
        assert known.octets % 4 == 0
        at += known.octets
    if walked.kind is not TailKind.MALFORMED:
        assert at + walked.mac_octets == 48 + len(tail)


@given(
    tail=st.one_of(
        st.binary(max_size=120),
        st.lists(st.sampled_from([16, 20, 24, 28, 32]).map(field), max_size=20).map(b"".join),
    ),
    mac=st.sampled_from([0, 4, 20, 24]),
    version=st.integers(1, 4),
)
def test_the_quick_walk_says_what_the_whole_walk_says(tail: bytes, mac: int, version: int) -> None:
    walked = walk_tail(HEADER + tail + bytes(mac), version=version)
    assert tail_of(HEADER + tail + bytes(mac), version=version) == (walked.kind, walked.mac_octets)


def test_more_fields_than_anybody_needs_are_malformed() -> None:
    assert walk_tail(HEADER + field(28) * 16, version=4).kind is TailKind.FIELDS
    assert walk_tail(HEADER + field(28) * 16 + bytes(20), version=4).kind is TailKind.MAC
    assert walk_tail(HEADER + field(28) * 17, version=4).kind is TailKind.MALFORMED
