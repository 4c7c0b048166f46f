"""Two-way sessions, clock data, Bulletin C and Earth orientation: what is written is read, broken lines are named."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.compare import two_way
from truechimer.compare.two_way import TwoWayRejected, Unpaired
from truechimer.formats import bulletin_c, clock_data, finals2000a, twstft
from truechimer.formats.bulletin_c import BulletinC
from truechimer.formats.clock_data import ClockDataMisuse, ClockReading, ClockStep
from truechimer.formats.finding import Finding
from truechimer.formats.twstft import TwstftFile
from truechimer.instants import builtin_leap_table

DATA = Path(__file__).parents[2].parent / "shared" / "data"
LEAPS = builtin_leap_table()
HEADER = """\
* TWLAA61.300
* FORMAT    01
* LAB       LAA
* CAL   101 TYPE: SYNTHETIC              MJD: 61000  EST. UNCERT.:    1.000 ns
*
* LOC    REM           hhmmss  s         s          ns       s         s          ns            ns
"""
ROW = (
    " {loc}  {rem} 01 61300 {start} 119 {tw:+.12f} 0.500 120 119 {ref:+.12f} 0.100 {ci} {s} {calr} "
    "{esd:9.3f} 0.200  20  50 1000"
)


def day(*, of_a: bool, s: int = 1, x_s: float = -42.5e-9) -> bytes:
    """Return the files of two stations whose clocks differ by x_s, made with the standard's equation turned round."""
    rows = []
    for hour in range(0, 24, 2):
        path = 0.2603 + 1e-7 * hour
        if of_a:
            # 0.5 (TW1 + ESD1) + REF1 - 0.5 (TW2 + ESD2) - REF2 + 0.5 (CALR12 - CALR21) = x
            tw = path + 2.0 * (x_s - 964.858e-9 + 1033.412e-9) - 3.1e-9 + (-1.7e-9)
            tw -= (12.34e-9 - (-7.66e-9)) if s == 1 else 0.0
            rows.append(
                ROW.format(
                    loc="LAA01",
                    rem="LBB01",
                    start=f"{hour:02d}1600",
                    tw=tw,
                    ref=964.858e-9,
                    ci="101" if s == 1 else "999",
                    s=s,
                    calr="   12.340" if s == 1 else "999999999",
                    esd=3.1,
                )
            )
        else:
            rows.append(
                ROW.format(
                    loc="LBB01",
                    rem="LAA01",
                    start=f"{hour:02d}1600",
                    tw=path,
                    ref=1033.412e-9,
                    ci="101" if s == 1 else "999",
                    s=s,
                    calr="   -7.660" if s == 1 else "999999999",
                    esd=-1.7,
                )
            )
    return (HEADER + "\n".join(rows) + "\n").encode()


def good(data: bytes) -> TwstftFile:
    value, findings = twstft.read(data)
    assert findings == []
    assert value is not None
    return value


def rules(findings: list[Finding]) -> list[str]:
    return [finding.rule for finding in findings]


def test_a_day_of_two_way_sessions_is_read_and_written_again_byte_for_byte() -> None:
    for s in (1, 9):
        value = good(day(of_a=True, s=s))
        assert twstft.write(value) == day(of_a=True, s=s)
    assert value.laboratory == "LAA"
    assert value.calibrations == {101: 1e-9}
    assert (value.sessions[1].start_s, value.sessions[1].calr_s, value.sessions[1].switch) == (8_160, None, 9)


def test_the_equation_of_the_recommendation_gives_the_difference_back() -> None:
    a, b = good(day(of_a=True)).sessions, good(day(of_a=False)).sessions
    link = two_way.compare(a, b, leaps=LEAPS)
    assert link.x_a_minus_b_s == pytest.approx(np.full(12, -42.5e-9), abs=2e-12)
    assert link.calibrated
    assert link.middle_tai_ns[0] == ((61_300 - 40_587) * 86_400 + 960 + 37) * 10**9 + 59_500_000_000
    assert two_way.compare(b, a, leaps=LEAPS).x_a_minus_b_s == pytest.approx(np.full(12, 42.5e-9), abs=2e-12)


def test_an_uncalibrated_link_says_so_and_half_a_calibration_is_left_out() -> None:
    a, b = good(day(of_a=True, s=9)).sessions, good(day(of_a=False, s=9)).sessions
    assert not two_way.compare(a, b, leaps=LEAPS).calibrated
    calibrated = good(day(of_a=False)).sessions
    with pytest.raises(TwoWayRejected):
        two_way.compare(a, calibrated, leaps=LEAPS)
    link = two_way.compare(good(day(of_a=True)).sessions[:5], calibrated, leaps=LEAPS)
    assert [why for *_, why in link.unpaired] == [Unpaired.ALONE] * 7


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("0.500 120", "0.500 12O", "field"),
        (" 20  50 1000", " 20  50", "fields"),
        ("021600", "026100", "start"),
        ("61300 021600", "00000 021600", "day"),
        ("LAA01  LBB01 01 61300 0216", "laa01  LBB01 01 61300 0216", "station"),
        ("021600", "001600", "repeated"),
        (" 101 1 ", " 101 5 ", "switch"),
    ],
)
def test_a_broken_session_is_named_and_costs_no_other(old: str, new: str, rule: str) -> None:
    text = day(of_a=True).decode().split("\n")
    at = HEADER.count("\n") + 1
    assert old in text[at]
    text[at] = text[at].replace(old, new, 1)
    value, findings = twstft.read("\n".join(text).encode())
    assert value is not None
    assert len(value.sessions) == 11
    assert [(finding.rule, finding.line) for finding in findings] == [(rule, at + 1)]


@pytest.mark.shared_data
def test_synthetic_files_of_others_give_their_stated_truth() -> None:
    folder = DATA / "twstft"
    for number, truth in ((300, -42.5), (301, -41.3)):
        a, b = (twstft.read((folder / f"twl{name}61.{number}").read_bytes()) for name in ("aa", "bb"))
        assert a[0] is not None
        assert b[0] is not None
        assert (a[1], b[1]) == ([], [])
        link = two_way.compare(a[0].sessions, b[0].sessions, leaps=LEAPS)
        fraction = (link.middle_tai_ns / 1e9 - 37.0) % 86_400 / 86_400
        error_ns = link.x_a_minus_b_s * 1e9 - (truth + 1.2 * fraction)
        if not link.calibrated:
            error_ns -= error_ns.mean()  # true up to a constant that the files do not carry
        assert abs(error_ns.mean()) < 0.05
        assert np.abs(error_ns).max() < 0.15
        assert link.calibrated == (number == 300)
        assert twstft.write(a[0]) == (folder / f"twlaa61.{number}").read_bytes()


def test_clock_data_is_written_five_to_a_line_and_read_again() -> None:
    readings = tuple(ClockReading(60_004, "10023", f"135{k:04d}", 1.5 * k - 20_000.0) for k in range(7))
    data = clock_data.write(readings)
    assert data.splitlines()[0] == (
        b"60004 10023 1350000  -20000.0 1350001  -19998.5 1350002  -19997.0 1350003  -19995.5 1350004  -19994.0"
    )
    again, findings = clock_data.read(data)
    assert findings == []
    assert [(each.clock, each.utck_minus_clock_ns) for each in again] == [
        (each.clock, each.utck_minus_clock_ns) for each in readings
    ]
    with pytest.raises(ClockDataMisuse):
        clock_data.write([ClockReading(60_004, "10023", "1350000", 1e12)])


def test_a_broken_block_costs_no_other() -> None:
    line = b"60004 10023 1350000  -20000.0 13X0001  -19998.5 1350000  -19997.0 1350003         -\n"
    found, findings = clock_data.read(line + b"6000x 10023\n\xff\n" + line.replace(b"60004", b"60009"))
    assert [(each.mjd, each.clock) for each in found] == [(60_004, "1350000"), (60_009, "1350000")]
    assert rules(findings) == ["not-ascii", *["block", "repeated", "block"], "columns", *["block", "repeated", "block"]]


def test_steps_are_removed_backwards() -> None:
    steps = (ClockStep(60_010.5, "1350000", 12.0, 2.0, "AAA", "10023"),)
    again, findings = clock_data.read_steps(clock_data.write_steps(steps) + b"60010.5 1350000 x 1\n")
    assert rules(findings) == ["step"]
    assert [(each.mjd, each.time_ns, each.frequency_ns_per_day) for each in again] == [(60_010.5, 12.0, 2.0)]
    before = [ClockReading(mjd, "10023", "1350000", 0.0) for mjd in (60_009, 60_014)]
    assert [each.utck_minus_clock_ns for each in clock_data.without_steps(before, steps)] == [-12.0 + 3.0, 0.0]


BULLETIN = """\
INTERNATIONAL EARTH ROTATION AND REFERENCE SYSTEMS SERVICE (IERS)
                                   Paris, 6 July 2016
                                   Bulletin C 52
                           UTC TIME STEP on the 1st of January 2017
A {sign} leap second will be introduced at the end of December 2016.
The sequence of dates of the UTC second markers will be:
{markers}
The difference between UTC and the International Atomic Time TAI is:
 from 2015 July 1, 0h UTC, to 2017 January 1 0h UTC   : UTC-TAI = - 36s
 from 2017 January 1, 0h UTC, until further notice    : UTC-TAI = - {after}s
"""
POSITIVE = BULLETIN.format(
    sign="positive",
    markers="2016 December 31, 23h 59m 59s\n2016 December 31, 23h 59m 60s\n2017 January 1, 0h 0m 0s",
    after=37,
)
NEGATIVE = BULLETIN.format(sign="negative", markers="2016 December 31, 23h 59m 58s\n2017 January 1, 0h 0m 0s", after=35)


def test_a_bulletin_announces_a_second_more_one_less_or_none() -> None:
    assert bulletin_c.read(POSITIVE.encode()) == (BulletinC(52, 1, 57_754, 37), [])
    assert bulletin_c.read(NEGATIVE.encode()) == (BulletinC(52, -1, 57_754, 35), [])
    none = (
        "Bulletin C 72\nNO leap second will be introduced at the end of December 2026.\nThe difference is:\n"
        "from 2017 January 1, 0h UTC, until further notice : UTC-TAI = -37 s\n"
    )
    assert bulletin_c.read(none.encode()) == (BulletinC(72, 0, 61_406, 37), [])


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("23h 59m 60s", "23h 59m 58s", "markers"),
        ("= - 37s", "= - 38s", "offset"),
        ("from 2017 January 1", "from 2017 July 1", "offset"),
        ("positive", "negative", "markers"),
        ("A positive leap", "A big leap", "announcement"),
        ("The sequence", "NO leap second will be introduced at the end of June 2017. The sequence", "announcement"),
    ],
)
def test_a_bulletin_that_contradicts_itself_is_not_used(old: str, new: str, rule: str) -> None:
    value, findings = bulletin_c.read(POSITIVE.replace(old, new, 1).encode())
    assert value is None
    assert rule in rules(findings)


@pytest.mark.shared_data
def test_earth_orientation_of_the_iers_is_read() -> None:
    value, findings = finals2000a.read((DATA / "leap" / "finals2000A-2016-02.excerpt").read_bytes())
    assert findings == []
    assert value is not None
    assert (value.mjd[0], value.ut1_minus_utc_s[0], value.u_s[0], value.predicted[0]) == (
        57_359,
        0.0262864,
        0.0000042,
        False,
    )
    assert len(value.mjd) == 181
    assert value.predicted[-1]
    assert value.ut1_minus_utc_s[-1] == -0.2246227


@given(st.binary(max_size=150), st.integers(0, 900), st.integers(0, 40))
def test_arbitrary_bytes_anywhere_cost_no_exception(noise: bytes, at: int, cut: int) -> None:
    columns = b"16 2 1 57359.00 I -0.003225 0.000031  0.299494 0.000025  I 0.0262864 0.0000042  1.3154 0.0035  I\n"
    for read, data in (
        (twstft.read, day(of_a=True)[:900]),
        (bulletin_c.read, POSITIVE.encode()),
        (finals2000a.read, columns * 3),
        (clock_data.read, b"60004 10023 1350000  -20000.0 1350001  -19998.5\n"),
        (clock_data.read_steps, b"60010.50 1350000      12.0      2.00 AAA  10023\n"),
    ):
        read(data[:at] + noise + data[at + cut :])  # type: ignore[operator]
