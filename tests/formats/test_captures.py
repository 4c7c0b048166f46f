"""Capture files and their frames: every form is read, one thing is broken at a time, any bytes are read or refused."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.formats.captures import ETHERNET, LINK_TYPES, framed, pcap, pcapng, udp

from truechimer.formats.capture_file import Capture, CaptureRejected
from truechimer.formats.datagrams import Datagram, NoDatagram, datagram

T_NS = 1_795_000_000_123_456_000
PAYLOAD = bytes(range(48))
V4 = Datagram("192.0.2.1", 123, "198.51.100.7", 40000, PAYLOAD)
V6 = Datagram("2001:db8::1", 123, "2001:db8::7", 40000, PAYLOAD)


def packet(of: Datagram) -> bytes:
    return udp(of.source, of.target, of.payload, ports=(of.source_port, of.target_port))


def read(data: bytes) -> list[tuple[int | None, Datagram | NoDatagram]]:
    return [(one.t_ns, datagram(one.link_type, one.data)) for one in Capture(data).frames()]


@pytest.mark.parametrize("link_type", LINK_TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_form_of_file_and_link_gives_the_same_datagrams(link_type: int, order: str) -> None:
    frames = [(T_NS + n, framed(packet(one), link_type)) for n, one in enumerate((V4, V6))]
    micro = [(T_NS, V4), (T_NS, V6)]
    assert read(pcap(frames, link_type, order=order)) == micro
    assert read(pcap(frames, link_type, order=order, nanoseconds=True)) == [(T_NS, V4), (T_NS + 1, V6)]
    assert read(pcapng(frames, link_type, order=order)) == micro
    assert read(pcapng(frames, link_type, order=order, tsresol=9)) == [(T_NS, V4), (T_NS + 1, V6)]
    assert read(pcapng(frames, link_type, order=order, simple=True)) == [(None, V4), (None, V6)]
    binary = read(pcapng(frames, link_type, order=order, tsresol=0x80 | 30))
    assert [abs((t or 0) - T_NS) <= 2 for t, _ in binary] == [True, True]
    two = pcapng(frames, link_type, order=order) + pcapng(frames, link_type, order="<" if order == ">" else ">")
    assert read(two) == micro * 2


def test_tags_snap_and_extension_headers_are_passed_over() -> None:
    for tags in (1, 2):
        assert datagram(ETHERNET, framed(packet(V4), ETHERNET, tags=tags)) == V4
    snap = bytes(12) + struct.pack(">H", 1000) + b"\xaa\xaa\x03\0\0\0\x08\0" + packet(V4)
    assert datagram(ETHERNET, snap) == V4
    six = packet(V6)
    signed = six[:4] + struct.pack(">HB", len(six) - 40 + 12, 51) + six[7:40] + b"\x11\1" + bytes(10) + six[40:]
    assert datagram(101, signed) == V6
    options = six[:4] + struct.pack(">HB", len(six) - 40 + 8, 0) + six[7:40] + b"\x11\0" + bytes(6) + six[40:]
    assert datagram(101, options) == V6
    atomic = six[:4] + struct.pack(">HB", len(six) - 40 + 8, 44) + six[7:40] + b"\x11\0\0\0\0\0\0\1" + six[40:]
    assert datagram(101, atomic) == V6
    assert datagram(101, atomic.replace(b"\x11\0\0\0\0\0\0\1", b"\x11\0\0\1\0\0\0\1")) is NoDatagram.FRAGMENT
    assert datagram(ETHERNET, framed(packet(V4), ETHERNET) + bytes(6)) == V4  # padding


@pytest.mark.parametrize(
    ("why", "link_type", "frame"),
    [
        (NoDatagram.LINK, 147, packet(V4)),
        (NoDatagram.NOT_IP, ETHERNET, bytes(12) + b"\x08\x06" + bytes(28)),
        (NoDatagram.NOT_UDP, 101, packet(V4)[:9] + b"\6" + packet(V4)[10:]),
        (NoDatagram.FRAGMENT, 101, packet(V4)[:6] + b"\x20\0" + packet(V4)[8:]),
        (NoDatagram.FRAGMENT, 101, packet(V4)[:6] + b"\0\1" + packet(V4)[8:]),
        (NoDatagram.MALFORMED, 101, b"\x41" + packet(V4)[1:]),
        (NoDatagram.MALFORMED, ETHERNET, bytes(12) + b"\x81\0\0\1" * 20),
        (NoDatagram.CUT, 101, packet(V4)[:-1]),
        (NoDatagram.CUT, 101, packet(V6)[:50]),
        (NoDatagram.CUT, ETHERNET, b""),
        (NoDatagram.CUT, 101, b""),
    ],
)
def test_a_frame_without_a_datagram_says_why(why: NoDatagram, link_type: int, frame: bytes) -> None:
    assert datagram(link_type, frame) is why


def test_a_capture_that_was_ended_counts_up_to_there() -> None:
    frames = [(T_NS, framed(packet(V4), ETHERNET))] * 3
    for whole in (pcap(frames, ETHERNET), pcapng(frames, ETHERNET)):
        for cut in (1, 9, 40):
            capture = Capture(whole[:-cut])
            assert len(list(capture.frames())) == 2
            assert [one.rule for one in capture.findings] == ["cut"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a" + bytes(40),
        pcap([], ETHERNET)[:20],
        pcap([], ETHERNET).replace(b"\2\0\4\0", b"\3\0\0\0"),
        pcap([], ETHERNET) + struct.pack("<IIII", 0, 0, 1 << 19, 1 << 19) + bytes(1 << 19),
        pcapng([], ETHERNET) + struct.pack("<II", 6, 13) + bytes(16),
        pcapng([], ETHERNET) + struct.pack("<II", 6, 1 << 30) + bytes(16),
        pcapng([], ETHERNET) + struct.pack("<IIII", 6, 16, 0, 20),
        pcapng([], ETHERNET) + struct.pack("<IIIIIIIII", 6, 36, 5, 0, 0, 0, 0, 0, 36),
        pcapng([], ETHERNET) + struct.pack("<IIIIIIIII", 6, 36, 0, 0, 0, 400, 400, 0, 36),
        pcapng([], ETHERNET, tsresol=60),
        pcapng([(T_NS, b"")], ETHERNET)[:8] + b"\1\2\3\4" + pcapng([(T_NS, b"")], ETHERNET)[12:],
    ],
)
def test_a_hostile_capture_is_refused_at_its_octet(data: bytes) -> None:
    with pytest.raises(CaptureRejected) as refused:
        list(Capture(data).frames())
    assert 0 <= refused.value.offset <= len(data)


@given(st.data())
def test_any_bytes_are_read_or_rejected(data: st.DataObject) -> None:
    frames = [(T_NS, framed(packet(V6), ETHERNET, tags=1))]
    seed = data.draw(st.sampled_from([pcap(frames, ETHERNET), pcapng(frames, ETHERNET, tsresol=9), packet(V4)]))
    octets = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    octets = octets[: data.draw(st.integers(0, len(octets)))]
    with contextlib.suppress(CaptureRejected):
        read(bytes(octets))
    for link_type in LINK_TYPES:
        datagram(link_type, bytes(octets))
