"""UBX frames: bytes made by an independent encoder, damage, resynchronisation, and every byte back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import ubx
from truechimer.instants import builtin_leap_table
from truechimer.sim.receiver_stream import Receiver

# made by pyubx2 from the values that the test names
PVT = (
    "b56201075c0000ca5b07ea0706010a11120719000000f9ffffff0301000e4e42b206870eaf1cbbef0700a8370700b00400006c070000"
    "0000000000000000000000000000000000000000000000000000000078000000000000000000000000000000bb76"
)
CLOCK = "b5620122140000ca5b07c01dfeff59010000040000005a000000f502"
GPS = "b5620120100000ca5b07bffeffff7509120705000000b414"
SAT = "b5620135140000ca5b0701010000020b2cfd0f01f1ff0f000000bd17"
RF = "b5620a381c00000100000002020100000000000000005c00d71111fc960397000000e584"
STATUS = "b5620103100000ca5b07030d001030750000e7030000ef33"
LS = "b5620126180000ca5b07000000000212020188130000000000000000000320a4"
STREAM = b"".join(bytes.fromhex(each) for each in (PVT, CLOCK, GPS, SAT, RF, STATUS, LS))


def messages(data: bytes) -> list[tuple[str, ubx.Message | None]]:
    pieces, _ = ubx.read(data)
    return [(piece.name, piece.message) for piece in pieces if isinstance(piece, ubx.Frame)]


def test_messages_of_an_independent_encoder_say_what_was_put_in() -> None:
    pieces, findings = ubx.read(STREAM)
    assert findings == []
    told = dict(messages(STREAM))
    pvt, clock, gps = told["NAV-PVT"], told["NAV-CLOCK"], told["NAV-TIMEGPS"]
    assert isinstance(pvt, ubx.NavPvt)
    assert (pvt.year, pvt.month, pvt.day, pvt.hour, pvt.minute, pvt.second, pvt.nano_ns) == (2026, 6, 1, 10, 17, 18, -7)
    assert (pvt.lon_e7, pvt.lat_e7, pvt.height_mm, pvt.h_acc_mm) == (112_345_678, 481_234_567, 520_123, 1_200)
    assert (pvt.fix, pvt.flags, pvt.valid, pvt.satellites, pvt.pdop_e2) == (3, 1, 7, 14, 120)
    assert clock == ubx.NavClock(123_456_000, -123_456, 345, 4, 90)
    assert gps == ubx.NavTimeGps(123_456_000, -321, 2_421, 18, 7, 5)
    sat, rf, status, ls = (told[name] for name in ("NAV-SAT", "MON-RF", "NAV-STATUS", "NAV-TIMELS"))
    assert isinstance(sat, ubx.NavSat)
    assert sat.satellites == (ubx.Satellite(2, 11, 44, -3, 271, -15, 15),)
    assert isinstance(rf, ubx.MonRf)
    assert (rf.blocks[0].noise, rf.blocks[0].agc, rf.blocks[0].flags, rf.blocks[0].i_offset) == (92, 4_567, 2, -4)
    assert isinstance(status, ubx.NavStatus)
    assert (status.flags2 >> 3) & 3 == 2
    assert isinstance(ls, ubx.NavTimeLs)
    assert (ls.current_s, ls.change_s, ls.until_event_s, ls.valid) == (18, 1, 5_000, 3)
    assert ubx.write(pieces) == STREAM


def test_what_is_written_from_the_messages_alone_is_the_same_bytes() -> None:
    assert ubx.write([ubx.frame(name, message) for name, message in messages(STREAM) if message]) == STREAM


def test_a_simulated_stream_reads_without_a_finding_and_comes_back() -> None:
    receiver = Receiver(np.random.default_rng(1), builtin_leap_table(), 1_780_000_000 * 10**9)
    data = b"".join(epoch.data for epoch in receiver.epochs(3))
    pieces, findings = ubx.read(data)
    assert findings == []
    assert len(messages(data)) == 3 * 13
    assert all(message is not None for _, message in messages(data))
    assert ubx.write(pieces) == data


@pytest.mark.parametrize("at", range(0, len(STREAM), 7))
def test_one_broken_octet_costs_one_message_and_is_found(at: int) -> None:
    broken = STREAM[:at] + bytes((STREAM[at] ^ 0x10,)) + STREAM[at + 1 :]
    pieces, findings = ubx.read(broken)
    good = messages(STREAM)
    assert [each for each in good if each not in messages(broken)] == [
        each for each in good if each not in messages(broken)
    ][:1]
    assert len(messages(broken)) == len(good) - 1
    assert "damaged" in {finding.rule for finding in findings}
    assert ubx.write(pieces) == broken


def test_a_length_that_swallows_what_follows_costs_nothing_that_follows() -> None:
    liar = ubx.SYNC + bytes((0x01, 0x22)) + (500).to_bytes(2, "little")
    assert messages(liar + STREAM) == messages(STREAM)


def test_sentences_between_frames_are_no_damage_and_unknown_messages_are_kept() -> None:
    other = ubx.Frame(0, 0x02, 0x15, b"abc", None)
    data = b"$GNGGA,,,,,,0,,,,,,,,*78\r\n" + ubx.write([other]) + STREAM
    pieces, findings = ubx.read(data)
    assert findings == []
    assert isinstance(pieces[0], ubx.Sentence)
    assert messages(data)[0] == ("02-15", None)
    assert ubx.write(pieces) == data


def test_a_known_message_of_another_length_is_left_out_and_said() -> None:
    class_id, message_id = 0x01, 0x22
    odd = ubx.write([ubx.Frame(0, class_id, message_id, bytes(24), None)])
    pieces, findings = ubx.read(odd)
    assert isinstance(pieces[0], ubx.Frame)
    assert pieces[0].message is None
    assert [finding.rule for finding in findings] == ["layout"]


def test_both_versions_of_the_security_message_are_read() -> None:
    one = ubx.write([ubx.frame("SEC-SIG", ubx.sec_sig(2, 3))])
    two = ubx.write([ubx.Frame(0, 0x27, 0x09, bytes((2, 1 | 2 << 1 | 8 | 3 << 4, 0, 0)), None)])
    for data in (one, two):
        (_, message), *_ = messages(data)
        assert isinstance(message, ubx.SecSig)
        assert (message.jamming, message.spoofing) == (2, 3)


@given(st.binary(max_size=120), st.integers(0, len(STREAM)), st.integers(0, 60))
def test_arbitrary_bytes_anywhere_cost_no_exception_and_no_byte(noise: bytes, at: int, cut: int) -> None:
    data = STREAM[:at] + noise + STREAM[at + cut :]
    assert ubx.write(ubx.read(data)[0]) == data
