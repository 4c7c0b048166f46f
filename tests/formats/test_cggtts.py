"""CGGTTS: files made by others, a file of our own broken one thing at a time, both paths of the reader, any bytes."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import cggtts
from truechimer.formats.cggtts import MISSING, CggttsFile, ChecksumRule
from truechimer.formats.cggtts_schedule import off_schedule, starts_s
from truechimer.formats.finding import Finding, Severity

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "cggtts"
HEADER = (
    "CGGTTS     GENERIC DATA FORMAT VERSION = 2E",
    "REV DATE = 2024-02-29",
    "RCVR = MAKER TYPE 0001 1.2",
    "CH = 20",
    "IMS = 99999",
    "LAB = XYZ",
    "X = +4027881.79 m",
    "Y =  +306998.67 m",
    "Z = +4919499.36 m",
    "FRAME = ITRF",
    "COMMENTS = NO COMMENTS",
    "INT DLY =   34.6 ns (GAL E1),  25.6 ns (GAL E5a)     CAL_ID = 1015-2021",
    "CAB DLY =  155.2 ns",
    "REF DLY =   10.0 ns",
    "REF = UTC(XYZ)",
)
LABELS = (
    (
        "SAT CL  MJD  STTIME TRKL ELV AZTH   REFSV      SRSV     REFSYS    SRSYS  DSG IOE MDTR SMDT MDIO SMDI"
        " MSIO SMSI ISG FR HC FRC CK"
    ),
    (
        "             hhmmss  s  .1dg .1dg    .1ns     .1ps/s     .1ns    .1ps/s .1ns     .1ns.1ps/s.1ns.1ps/"
        "s.1ns.1ps/s.1ns  "
    ),
)
BODIES = (
    (
        "E03 FF 60258 001000  780 139  548     +723788    +14        -302    -14    2 076  325  -36   32   -3"
        "   20  +20   3  0  0  E1"
    ),
    (
        "E03 FF 60258 001000  780 139  548     +723779    +33        -311     +5    1 076  325  -36   57   -6"
        "   36  +37   6  0  0 E5a"
    ),
    (
        "G12 FF 60258 001000  780 710 3535 -9999999998   -999 +4999999999     -0    2 079   84   +3   16   +0"
        "   39   +3   2  0  0 L3P"
    ),
    (
        "G99 99 60258 002600  780 999 9999 +9999999999 +99999 -5000000001   +123 9999 999 9999 +999 9999 +999"
        " 9999 +999 999  0  0 L1C"
    ),
)


def summed(text: str) -> str:
    """Return the two digits of a sum of bytes."""
    return f"{sum(text.encode('latin-1')) % 256:02X}"


def file_of(bodies: tuple[str, ...] = BODIES, *, header: tuple[str, ...] = HEADER, end: str = "\n") -> bytes:
    """Return a file whose sums hold, made without the writer."""
    head = [*header, "CKSUM = " + summed("".join(header) + "CKSUM = ")]
    tracks = [f"{body} {summed(body + ' ')}" for body in bodies]
    return "".join(line + end for line in [*head, "", *LABELS, *tracks]).encode("latin-1")


def good(data: bytes) -> CggttsFile:
    value, findings = cggtts.read(data)
    assert findings == []
    assert value is not None
    return value


def rules(findings: list[Finding]) -> Counter[str]:
    return Counter(finding.rule for finding in findings)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_of_the_standard_is_read_and_written_again_byte_for_byte(end: str) -> None:
    data = file_of(end=end)
    value = good(data)
    assert cggtts.write(value) == data
    assert cggtts.write(good(data[: -len(end)])) == data[: -len(end)], "without a last line end"


def test_what_a_file_says_comes_out_in_units() -> None:
    value = good(file_of())
    header, tracks = value.header, value.tracks
    assert (header.laboratory, header.reference, header.calibration) == ("XYZ", "UTC(XYZ)", "1015-2021")
    assert (header.revision_mjd, header.position_m) == (60_369, (4_027_881.79, 306_998.67, 4_919_499.36))
    assert header.checksum_rule is ChecksumRule.STANDARD
    assert header.total_delay_ns("E1") == pytest.approx(34.6 + 155.2 - 10.0)
    assert header.total_delay_ns("GAL E5a") == pytest.approx(25.6 + 155.2 - 10.0)
    assert header.total_delay_ns("E5b") is None
    assert tracks.system.tolist() == [b"E", b"E", b"G", b"G"]
    assert tracks.number.tolist() == [3, 3, 12, 99]
    assert tracks.code.tolist() == [b"E1", b"E5a", b"L3P", b"L1C"]
    assert tracks.start_s.tolist() == [600, 600, 600, 1560]
    assert set(tracks.mjd.tolist()) == {60_258}
    assert tracks.middle_s()[0] == 990.0
    assert tracks.refsv_100ps.tolist() == [723_788, 723_779, -9_999_999_998, MISSING]
    assert tracks.dsg_100ps.tolist() == [2, 1, 2, MISSING]
    assert tracks.ioe.tolist() == [76, 76, 79, MISSING]
    assert tracks.melded.tolist() == [False, False, False, True]
    assert tracks.checked.all()


def test_refsys_is_taken_modulo_a_second() -> None:
    seconds = good(file_of()).tracks.x_clock_minus_system_s()
    assert seconds == pytest.approx([-30.2e-9, -31.1e-9, 0.4999999999, 0.4999999999], abs=1e-15)
    near_one = BODIES[0].replace("       -302", "+9999988924")
    assert good(file_of((near_one,))).tracks.x_clock_minus_system_s() == pytest.approx([-1.1076e-6], abs=1e-15)


def test_a_track_changed_in_any_digit_is_refused_and_its_neighbours_are_kept() -> None:
    lines = file_of().split(b"\n")
    first = len(HEADER) + 4
    for at in range(len(BODIES[1])):
        changed = bytearray(lines[first + 1])
        changed[at] = changed[at] ^ 1
        value, findings = cggtts.read(b"\n".join([*lines[: first + 1], bytes(changed), *lines[first + 2 :]]))
        assert value is not None
        assert len(value.tracks) == 3
        assert [(finding.line, finding.severity) for finding in findings] == [(first + 2, Severity.ERROR)]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda line: line[:80], "too-few-fields"),
        (lambda line: line + " 1", "too-many-fields"),
        (lambda line: "X" + line[1:], "satellite"),
        (lambda line: line[:1] + "00" + line[3:], "satellite"),
        (lambda line: line.replace(" 780 ", " 7x0 "), "field"),
        (lambda line: line[:-2] + "GG", "track-checksum"),
    ],
)
def test_a_broken_line_is_named_with_its_rule(change: "object", rule: str) -> None:
    text = file_of().decode("latin-1").split("\n")
    at = len(HEADER) + 5
    text[at] = change(text[at])  # type: ignore[operator]
    value, findings = cggtts.read("\n".join(text).encode("latin-1"))
    assert value is not None
    assert len(value.tracks) == 3
    assert [(finding.rule, finding.line) for finding in findings] == [(rule, at + 1)]


def test_values_that_no_track_has_are_refused() -> None:
    for old, new, rule in (
        ("001000", "246000", "start"),
        ("60258", "00058", "day"),
        (" 780 ", "   0 ", "length"),
        (" 139 ", " 901 ", "elevation"),
        ("  548 ", " 3601 ", "azimuth"),
    ):
        value, findings = cggtts.read(file_of((BODIES[0].replace(old, new, 1), BODIES[2])))
        assert value is not None
        assert len(value.tracks) == 1
        assert rules(findings) == {rule: 1}, rule


def test_a_repeated_track_is_refused_and_one_off_the_schedule_is_said() -> None:
    again = BODIES[0].replace("-302", "-303")
    value, findings = cggtts.read(file_of((*BODIES, again)))
    assert value is not None
    assert len(value.tracks) == 4
    assert rules(findings) == {"repeated": 1}
    value, findings = cggtts.read(file_of((BODIES[0].replace("001000", "001100"),)))
    assert value is not None
    assert len(value.tracks) == 1
    assert [(finding.rule, finding.severity) for finding in findings] == [("off-schedule", Severity.WARNING)]


def test_a_header_changed_after_it_was_made_is_said_and_costs_no_track() -> None:
    value, findings = cggtts.read(file_of().replace(b"155.2 ns", b"150.2 ns"))
    assert value is not None
    assert len(value.tracks) == 4
    assert value.header.checksum_rule is None
    assert [(finding.rule, finding.severity) for finding in findings] == [("header-checksum", Severity.WARNING)]


def test_the_other_two_rules_of_the_header_sum_are_known() -> None:
    for rule, said in (
        (ChecksumRule.WITHOUT_LAST_BLANK, summed("".join(HEADER) + "CKSUM =").lower()),
        (ChecksumRule.WITH_LINE_FEEDS, summed("\n".join(HEADER) + "\nCKSUM = ")),
    ):
        text = file_of().decode("latin-1").split("\n")
        text[len(HEADER)] = f"CKSUM = {said}"
        assert good("\n".join(text).encode("latin-1")).header.checksum_rule is rule


def test_lines_out_of_their_columns_are_read_by_their_fields() -> None:
    moved = tuple(body.replace("  780", " 780").replace("    -14", "   -14") for body in BODIES)
    assert all(len(old) > len(new) for old, new in zip(BODIES, moved, strict=True))
    one, other = good(file_of()).tracks, good(file_of(moved)).tracks
    for name in type(one).__slots__:
        assert (getattr(one, name) == getattr(other, name)).all(), name
    starred = BODIES[0].replace("    2 076", " **** 076")
    assert good(file_of((starred,))).tracks.dsg_100ps.tolist() == [MISSING]


def test_comments_that_forbid_all_in_view_are_understood() -> None:
    lines = tuple(line.replace("NO COMMENTS", "NO TGD applied: USE ONLY in COMMON VIEW") for line in HEADER)
    assert good(file_of(header=lines)).header.common_view_only
    assert not good(file_of()).header.common_view_only


def test_what_is_no_such_file_is_refused_with_a_word() -> None:
    for data, rule in (
        (b"", "not-cggtts"),
        (b"\x89PNG\r\n", "not-cggtts"),
        (b"CGGTTS     GENERIC DATA FORMAT VERSION = 2E\nREV DATE = 2024-02-29\n", "no-labels"),
    ):
        value, findings = cggtts.read(data)
        assert value is None
        assert rule in rules(findings)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 60))
def test_arbitrary_bytes_anywhere_cost_no_exception(noise: bytes, at: int, cut: int) -> None:
    data = file_of()
    cggtts.read(data[:at] + noise + data[at + cut :])
    cggtts.read(data + noise)


def test_the_schedule_has_89_tracks_a_day_and_moves_back_by_four_minutes() -> None:
    days = np.arange(60_000, 60_400)
    for mjd in days.tolist():
        starts = starts_s(mjd)
        gaps = np.diff(starts)
        assert len(starts) == 89
        assert set(gaps.tolist()) <= {960, 1_680}
        assert (gaps == 1_680).sum() <= 1
        assert not off_schedule(np.full(89, mjd), np.array(starts)).any()
        assert off_schedule(np.full(89, mjd), np.array(starts) + 60).all()
    assert starts_s(50_722)[0] == 120


@pytest.mark.shared_data
def test_files_of_five_producers_are_read_as_an_independent_reader_does() -> None:
    expected = json.loads((SHARED / "expected.json").read_text())
    of_rule = {
        "no_eol_to_equals_space": ChecksumRule.STANDARD,
        "no_eol_to_equals": ChecksumRule.WITHOUT_LAST_BLANK,
        "with_lf": ChecksumRule.WITH_LINE_FEEDS,
    }
    seen = 0
    for name, wanted in expected.items():
        if "tracks" not in wanted:
            continue
        data = (SHARED / name).read_bytes()
        value, findings = cggtts.read(data)
        assert value is not None
        tracks = value.tracks
        refused = rules(findings)["track-checksum"]
        assert (len(tracks) + refused, int(tracks.checked.sum())) == (wanted["tracks"], wanted["track_ck_ok"]), name
        assert value.header.checksum_rule is (of_rule[wanted["header_rule"][0]] if wanted["header_rule"] else None)
        assert (
            len({(a, b) for a, b in zip(tracks.system.tolist(), tracks.number.tolist(), strict=True)}) == wanted["svs"]
        )
        assert rules(findings)["off-schedule"] == 0, "every real track obeys the schedule"
        if value.header.checksum_rule is ChecksumRule.STANDARD:
            assert cggtts.write(value) == data, name
        seen += 1
    assert seen >= 8
    raw, _ = cggtts.read((SHARED / "CTTS_GAL_30s_E1").read_bytes())
    assert raw is not None
    assert len(raw.tracks) == 79
    assert (raw.tracks.msio_100ps == MISSING).sum() == 3


def test_a_code_that_is_no_text_is_refused_even_where_the_line_was_summed_anew() -> None:
    lines = file_of().split(b"\n")
    at = next(k for k, line in enumerate(lines) if b" E5a " in line)
    for old, new in ((b" E5a ", b" E\xcea "), (b" FF ", b" \x94F ")):
        changed = lines[at].replace(old, new)[:-2]
        lines_now = [*lines[:at], changed + f"{sum(changed) % 256:02X}".encode(), *lines[at + 1 :]]
        value, findings = cggtts.read(b"\n".join(lines_now))
        assert value is not None
        assert [(each.rule, each.line) for each in findings] == [("letters", at + 1)]
        assert len(value.tracks) == 3
        assert cggtts.write(value)


def summed_anew(line: bytes) -> bytes:
    """Return a track with its CK made anew, in small letters."""
    return line[:-2] + f"{sum(line[:-2]) % 256:02x}".encode()


def test_a_producers_own_way_of_writing_numbers_is_kept_in_every_track_that_nobody_changed() -> None:
    lines = file_of().split(b"\n")
    at = [k for k, line in enumerate(lines) if b" FF " in line]
    for k in at:
        lines[k] = summed_anew(lines[k].replace(b"  780 ", b" 0780 "))
    first, other = at[0], at[-1]
    assert b" 0780 " in lines[first]
    data = b"\n".join(lines)
    value, findings = cggtts.read(data)
    assert value is not None
    assert findings == []
    assert cggtts.write(value) == data
    moved = value.tracks.refsys_100ps.copy()
    moved[0] += 1
    changed = cggtts.write(replace(value, tracks=replace(value.tracks, refsys_100ps=moved))).split(b"\n")
    assert [k for k in range(len(lines)) if changed[k] != lines[k]] == [first]
    assert b"  780 " in changed[first]
    again, findings = cggtts.read(b"\n".join(changed))
    assert findings == []
    assert again is not None
    assert again.tracks.refsys_100ps.tolist() == moved.tolist()
    gone = cggtts.write(replace(value, tracks=value.tracks.chosen(np.arange(1, len(value.tracks))))).split(b"\n")
    assert gone == lines[:first] + lines[first + 1 :]
    assert other > first


def test_without_its_source_a_file_of_the_standard_is_written_the_same() -> None:
    for data in (file_of(), file_of().replace(b"\n", b"\r\n"), file_of().replace(b"\n\nSAT", b"\nSAT")):
        value, findings = cggtts.read(data)
        assert value is not None
        assert findings == []
        assert cggtts.write(replace(value, source=b"")) == data
        assert data.split(b"\n")[int(value.tracks.line[0]) - 1].startswith(b"E")


def test_a_delay_without_a_digit_before_its_point_is_no_larger_one() -> None:
    value, _ = cggtts.read(file_of().replace(b"155.2 ns", b".5 ns"))
    assert value is not None
    assert [each.ns for each in value.header.delays if each.which == "CAB DLY"] == [0.5]
