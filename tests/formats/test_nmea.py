"""NMEA: sentences that receivers' descriptions print are read as they say, one thing broken says nothing, and any bytes
come back as they were.
"""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from truechimer.compare import receiver_nmea
from truechimer.compare.receiver_stream import ReceiverStream
from truechimer.formats import nmea
from truechimer.formats.nmea import Gga, Gsv, InView, Rmc, TimeOfDay, Zda
from truechimer.instants import builtin_leap_table

# the examples of u-blox's protocol descriptions
GGA = b"$GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,*5B\r\n"
RMC = b"$GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A*57\r\n"
ZDA = b"$GPZDA,082710.00,16,09,2002,00,00*64\r\n"
GSV = b"$GPGSV,3,1,10,23,38,230,44,29,71,156,47,07,29,116,41,08,09,081,36*7F\r\n"
LEAPS = builtin_leap_table()


def test_the_examples_of_a_description_are_read_as_they_say() -> None:
    lines, findings = nmea.read(GGA + RMC + ZDA + GSV)
    assert not findings
    gga, rmc, zda, gsv = (line.message for line in lines)
    assert isinstance(gga, Gga)
    assert (gga.time, gga.quality, gga.satellites) == (TimeOfDay(34_045, 0), 1, 8)
    assert gga.latitude_deg == pytest.approx(47.285233, abs=1e-6)
    assert gga.longitude_deg == pytest.approx(8.565265, abs=1e-6)
    assert gga.height_m == pytest.approx(547.6)
    assert rmc == Rmc(TimeOfDay(30_959, 0), True, (2002, 12, 9))
    assert zda == Zda(TimeOfDay(30_430, 0), (2002, 9, 16))
    assert isinstance(gsv, Gsv)
    assert gsv.satellites[0] == InView(23, 38, 44.0)
    assert len(gsv.satellites) == 4


def test_a_signal_identifier_after_the_satellites_is_none_of_them() -> None:
    line = nmea.sentence("GA", "GSV", "1", "1", "02", "03", "22", "100", "38", "05", "", "120", "", "7")
    assert line.message == Gsv(1, 1, (InView(3, 22, 38.0), InView(5, None, None)))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (GGA.replace(b"*5B", b"*5C"), "checksum"),
        (GGA.replace(b"*5B", b""), "no-sentence"),
        (b"$GPGGA\r\n", "no-sentence"),
        (b"$" + b"A" * 200 + b"\r\n", "too-long"),
        (nmea.sentence("GP", "GGA", *["9"] * 14).data, "fields"),
        (nmea.sentence("GP", "RMC", "246060.00", "Q", "", "", "", "", "", "", "091202").data, "fields"),
        (nmea.sentence("GP", "RMC", "", "A", "", "", "", "", "", "", "9.12e2").data, "fields"),
        (nmea.sentence("GP", "ZDA", "082710.00", "32", "09", "2002").data, "fields"),
        (nmea.sentence("GP", "GSV", "1", "2", "01").data, "fields"),
        (nmea.sentence("GP", "GSV", "1", "1", "01", "07", "10", "0", "nan").data, "fields"),
    ],
)
def test_one_thing_broken_is_named_and_says_nothing(data: bytes, rule: str) -> None:
    lines, findings = nmea.read(data + ZDA)
    assert [finding.rule for finding in findings] == [rule]
    assert [line.message is None for line in lines] == [True, False]


@given(st.lists(st.one_of(st.sampled_from([GGA, RMC, ZDA, GSV]), st.binary(max_size=150)), max_size=12))
def test_any_bytes_come_back_as_they_were_and_never_raise(parts: list[bytes]) -> None:
    data = b"".join(parts)
    lines, _ = nmea.read(data)
    assert nmea.write(lines) == data
    list(receiver_nmea.epochs(lines, LEAPS))
    ReceiverStream(LEAPS).take(data)


def stream(seconds: int, *, date: str = "091125", cno: int = 44) -> bytes:
    out = b""
    for second in range(seconds):
        time = f"0927{second:02d}.00"
        fix = ("4717.11399", "N", "00833.91590", "E")
        out += nmea.sentence("GN", "GGA", time, *fix, "1", "08", "1.0", "499.6", "M", "48.0", "M", "", "").data
        out += nmea.sentence("GN", "RMC", time, "A", *fix, "0.0", "", date).data
        sky = [str(field) for number in range(4) for field in (number + 1, 20 + 10 * number, 90, cno + number)]
        out += nmea.sentence("GP", "GSV", "1", "1", "04", *sky).data
    return out


def test_a_stream_without_binary_messages_gives_epochs_with_date_place_and_sky() -> None:
    taken = ReceiverStream(LEAPS)
    data = stream(4)
    epochs = []
    for at in range(0, len(data), 37):
        more, findings = taken.take(data[at : at + 37])
        epochs += more
        assert not findings
    assert len(epochs) == 3
    first = epochs[0]
    assert (first.fix_ok, first.used) == (True, 8)
    assert first.cno_dbhz == (44.0, 45.0, 46.0, 47.0)
    assert first.position_m is not None
    assert epochs[1].epoch_tai_ns - first.epoch_tai_ns == 10**9
    lines, _ = nmea.read(data)
    assert len(list(receiver_nmea.epochs(lines, LEAPS))) == 4


def test_a_day_that_does_not_exist_is_no_epoch() -> None:
    lines, _ = nmea.read(stream(3, date="310225"))
    assert list(receiver_nmea.epochs(lines, LEAPS)) == []
