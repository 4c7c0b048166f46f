"""What the kernel hands back of an answer names that answer, whatever stands before it, and nothing else does."""

import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.kernel import COMPILED, kernel
from truechimer.serve.ntp import departed
from truechimer.serve.ntp.interleaved import key_of

PORT = 11_123
RECEIVE = 0xEE01_0203_8405_0607
COOKIE = 0x9922_3344_5566_7788
IPV4 = bytes([0x45]) + bytes(19)
IPV6 = bytes([0x60]) + bytes(39)


def an_answer(*, first: int = 0x24, tail: bytes = b"") -> bytes:
    return bytes([first, 1, 6, 0xE9]) + bytes(12) + struct.pack(">QQQQ", COOKIE, 5, RECEIVE, RECEIVE + 9) + tail


def a_packet(answer: bytes, *, before: bytes = bytes(14) + IPV4, port: int = PORT, size: int | None = None) -> bytes:
    return before + struct.pack(">HHHH", port, 123, size if size is not None else 8 + len(answer), 0xBEEF) + answer


@pytest.mark.parametrize(
    "before",
    [
        IPV4,
        bytes(14) + IPV4,
        bytes(18) + IPV4,
        bytes(14) + IPV4 + bytes(12),
        bytes(14) + IPV6,
        bytes(14) + IPV6 + bytes(8),
        # whoever is asked at a port that stands in the headers as well
        bytes(14) + struct.pack(">HH", PORT, 56) * 5,
    ],
    ids=["no link header", "ethernet", "vlan", "options", "ipv6", "ipv6 with a header", "misleading"],
)
@pytest.mark.parametrize("tail", [b"", bytes(20), bytes(24), bytes(68), bytes(400)])
def test_the_answer_is_found_from_the_end(before: bytes, tail: bytes) -> None:
    for first, key in ((0x24, key_of(RECEIVE)), (0x1C, key_of(RECEIVE)), (0x2C, key_of(COOKIE))):
        packet = a_packet(an_answer(first=first, tail=tail), before=before)
        assert departed.answer_in(packet, len(packet), PORT) == key


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        an_answer(),
        a_packet(an_answer(), port=PORT + 1),
        a_packet(an_answer(), size=55),
        a_packet(an_answer(), size=0),
        a_packet(an_answer(first=0x23)),  # a question is no answer
        a_packet(an_answer()[:-4]),
        a_packet(an_answer(), before=bytes(19)),
        a_packet(an_answer()) + b"padding!",
        a_packet(an_answer(tail=bytes(1200))),
    ],
)
def test_what_is_not_an_answer_of_this_port_is_nobodys(packet: bytes) -> None:
    assert departed.answer_in(packet, len(packet), PORT) == departed.NOBODY


class Exact(bytes):
    """Octets that nobody may read beyond `length`."""

    length = 0

    def __getitem__(self, at):  # type: ignore[no-untyped-def] - an index alone is ever asked for
        assert 0 <= at < self.length
        return super().__getitem__(at)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 65_535))
def test_no_octets_lead_it_beyond_their_length(octets: bytes, length: int, port: int) -> None:
    watched = Exact(octets)
    watched.length = min(length, len(octets))
    assert 0 <= departed.answer_in(watched, watched.length, port) < 2**63


@pytest.mark.skipif(not COMPILED, reason="numba is not installed")
def test_machine_code_finds_the_same() -> None:
    compiled, draw, room = kernel(departed.answer_in), random.Random(83), np.zeros(256, dtype=np.uint8)
    found = 0
    for _ in range(500):
        packet = bytearray(a_packet(an_answer(first=draw.choice([0x24, 0x2C]), tail=bytes(4 * draw.randrange(8)))))
        for _ in range(draw.randrange(3)):
            packet[draw.randrange(len(packet))] = draw.randrange(256)
        length = len(packet) - draw.choice([0, 0, 0, 4, 100])
        room[: len(packet)] = packet
        key = departed.answer_in(bytes(packet), length, PORT)
        assert compiled(room, length, PORT) == key
        found += key != departed.NOBODY
    assert 100 < found < 500
