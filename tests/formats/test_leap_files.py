"""The two leap-second files: real ones as published, then one valid list with one thing broken at a time."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import leap_second_dat, leap_seconds_list
from truechimer.formats.finding import Finding, has_errors
from truechimer.formats.leap_seconds_list import LeapListMisuse
from truechimer.instants import LeapEntry, LeapTable, UtcLabel, builtin_leap_table

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "leap"
KEPT_DAT = Path(__file__).parents[2] / "authorities" / "leap_seconds" / "Leap_Second.dat"
UPDATED = UtcLabel.parse("2026-07-06T00:00:00Z")
LIST = leap_seconds_list.write(builtin_leap_table(), updated=UPDATED)
DAT = KEPT_DAT.read_bytes()


def rules_of(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


def rehashed(text: str) -> bytes:
    """Return a list with its hash made right: for faults that the hash would otherwise report first."""
    digits, lines = "", []
    for line in text.splitlines():
        if line[:2] in {"#$", "#@"}:
            digits += line[2:].strip()
        elif not line.startswith("#"):
            digits += "".join(line.partition("#")[0].split())
        lines.append(line)
    digest = hashlib.sha1(digits.encode()).hexdigest()
    words = " ".join(digest[place : place + 8] for place in range(0, 40, 8))
    return "\n".join(f"#h\t{words}" if line.startswith("#h") else line for line in lines).encode() + b"\n"


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["leap-seconds.nist-2015.list", "leap-seconds.tzdata-2025b.list"])
def test_published_lists_read_as_expected(name: str) -> None:
    expected = json.loads((SHARED / "expected.json").read_text(encoding="utf-8"))[name]
    data = (SHARED / name).read_bytes()
    table, findings = leap_seconds_list.read(data, source=name)
    assert findings == []
    assert table is not None
    assert expected["hash_ok"]
    assert len(table.entries) == expected["rows"]
    assert table.entries[-1].tai_minus_utc_s == expected["last_tai_utc"]
    assert UtcLabel(table.entries[-1].mjd, 0).isoformat(0)[:10] == expected["last_from"]
    assert table.updated is not None
    assert table.updated.isoformat(0)[:10] == expected["updated"]
    assert table.expires.isoformat(0)[:10] == expected["expires"]
    assert table.source == name
    padded = " ".join(word.rjust(8, "0") for word in expected["hash_words"])
    assert f"#h\t{padded}\n".encode() in leap_seconds_list.write(table)


@pytest.mark.shared_data
def test_the_published_iers_file_reads_as_the_builtin_table() -> None:
    table, findings = leap_second_dat.read((SHARED / "Leap_Second.2026-07.dat").read_bytes())
    assert findings == []
    assert table is not None
    assert (table.entries, table.expires) == (builtin_leap_table().entries, builtin_leap_table().expires)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["leap-seconds.nist-2015.list", "leap-seconds.tzdata-2025b.list"])
def test_any_changed_digit_of_a_published_list_is_found(name: str) -> None:
    data = (SHARED / name).read_bytes()
    places = [
        offset
        for line in data.splitlines(keepends=True)
        for start in [data.index(line)]
        if line[:2] in {b"#$", b"#@"} or not line.startswith(b"#")
        for offset in range(start, start + len(line.partition(b"# ")[0]))
        if data[offset : offset + 1].isdigit()
    ]
    assert len(places) > 300
    for offset in places:
        digit = b"%d" % ((int(data[offset : offset + 1]) + 1) % 10)
        table, findings = leap_seconds_list.read(data[:offset] + digit + data[offset + 1 :])
        assert table is None
        assert "hash-mismatch" in rules_of(findings)


def test_a_written_list_reads_as_itself() -> None:
    table, findings = leap_seconds_list.read(LIST, source=builtin_leap_table().source)
    assert findings == []
    assert table == LeapTable(
        builtin_leap_table().entries, UPDATED, builtin_leap_table().expires, builtin_leap_table().source
    )


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([1, -1])), max_size=30),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.text(max_size=30),
)
def test_every_table_that_the_format_holds_survives_the_way_there_and_back(
    leaps: list[tuple[int, int]], updated_s: int, lasts_s: int, source: str
) -> None:
    month, offset, entries = 0, 10, [LeapEntry(41_317, 10)]
    for months, step in leaps:
        month, offset = month + months, max(offset + step, 0)
        if offset != entries[-1].tai_minus_utc_s:
            label = UtcLabel.from_calendar(1972 + month // 12, month % 12 + 1, 1)
            entries.append(LeapEntry(label.mjd, offset))
    updated = UtcLabel(*_day_and_second(41_317, updated_s))
    expires = UtcLabel(*_day_and_second(entries[-1].mjd, lasts_s))
    table = LeapTable(tuple(entries), updated, expires, source)
    assert leap_seconds_list.read(leap_seconds_list.write(table), source=source) == (table, [])


def _day_and_second(mjd: int, seconds: int) -> tuple[int, int]:
    return mjd + seconds // 86_400, seconds % 86_400


def test_hash_words_that_lost_their_leading_zeros_are_padded() -> None:
    for day in range(400):  # one of them has a word with a leading zero
        data = leap_seconds_list.write(builtin_leap_table(), updated=UtcLabel(61_000 + day, 0))
        words = data.rpartition(b"#h\t")[2].split()
        assert [len(word) for word in words] == [8] * 5
        if any(word.startswith(b"0") for word in words):
            break
    stripped = data.rpartition(b"#h\t")[0] + b"#h\t" + b" ".join(word.lstrip(b"0") for word in words) + b"\n"
    assert stripped != data
    assert leap_seconds_list.read(stripped) == leap_seconds_list.read(data)
    assert leap_seconds_list.read(stripped)[1] == []


def test_windows_line_ends_and_a_byte_order_mark_are_tolerated() -> None:
    assert leap_seconds_list.read(b"\xef\xbb\xbf" + LIST.replace(b"\n", b"\r\n")) == leap_seconds_list.read(LIST)
    assert leap_second_dat.read(DAT.replace(b"\n", b"\r\n")) == leap_second_dat.read(DAT)


ROW_2017 = "3692217600\t37\t# 1 Jan 2017"
ROW_2015 = "3644697600\t36\t# 1 Jul 2015"
EXPIRY_LINE = next(line for line in LIST.decode().splitlines() if line.startswith("#@"))
BROKEN_LISTS = [
    ("hash-mismatch", ROW_2017, "3692217600\t38", False),
    ("hash-mismatch", ROW_2017 + "\n", "", False),
    ("not-one-second", ROW_2017, "3692217600\t38", True),
    ("not-one-second", ROW_2017, "3692217600\t36", True),
    ("not-rising", ROW_2017, "3644697600\t37", True),
    ("not-month-end", ROW_2017, "3692304000\t37", True),
    ("not-midnight", ROW_2017, "3692217601\t37", True),
    ("not-midnight", ROW_2017, "999999999999\t37", True),
    ("columns", ROW_2017, "3692217600", False),
    ("columns", ROW_2017, "3692217600 37 1 Jan 2017", False),
    ("not-a-number", ROW_2017, "3692217600\t+37", False),
    ("not-a-number", ROW_2017, "3692217600\t37.0", False),
    ("not-a-number", ROW_2017, "36922176001234\t37", False),
    ("first-row", "2272060800\t10\t# 1 Jan 1972\n", "", True),
    ("first-row", "2272060800\t10", "2272060800\t11", True),
    ("expiry-missing", "#@", "# ", True),
    ("update-missing", "#$", "# ", True),
    ("expiry-not-a-date", "#@\t", "#@\tsoon ", False),
    ("update-not-a-date", "#$\t", "#$\t-", False),
    ("expiry-not-a-date", "#@\t", "#@\t99", False),
    ("expiry-before-last-row", EXPIRY_LINE, "#@\t3692131200", True),
    ("expiry-twice", "#@", "#@\t1\n#@", False),
    ("update-twice", "#$", "#$\t1\n#$", False),
    ("hash-twice", "#h", "#h\t1 2 3 4 5\n#h", False),
    ("hash-missing", "#h", "# ", False),
    ("hash-not-a-hash", "#h\t", "#h\t0 ", False),
    ("hash-not-a-hash", "#h\t", "#h\tx", False),
]


@pytest.mark.parametrize(("rule", "old", "new", "rehash"), BROKEN_LISTS)
def test_a_list_with_one_thing_broken_gives_no_table_and_names_the_line(
    rule: str, old: str, new: str, rehash: bool
) -> None:
    text = LIST.decode()
    assert text.count(old) == 1
    broken = text.replace(old, new)
    data = rehashed(broken) if rehash else broken.encode()
    table, findings = leap_seconds_list.read(data)
    assert table is None
    assert rule in rules_of(findings)
    if rehash:
        assert "hash-mismatch" not in rules_of(findings)
    if not rule.endswith("-missing"):
        line = next(finding.line for finding in findings if finding.rule == rule)
        assert line is not None
        assert 1 <= line <= data.count(b"\n") + 1
        assert "again" in next(finding.says for finding in findings if finding.rule == rule)


def test_the_line_of_a_finding_is_the_line_of_the_fault() -> None:
    data = LIST.decode().replace(ROW_2015, "3644697600\tx").encode()
    _, findings = leap_seconds_list.read(data)
    line = next(finding.line for finding in findings if finding.rule == "not-a-number")
    assert line is not None
    assert data.decode().splitlines()[line - 1] == "3644697600\tx"


@pytest.mark.parametrize("data", [b"", b"\n", b"#\n", b"\x00" * 100, b"<html></html>\n", b"1" * 1_000_001])
def test_something_else_is_no_leap_second_list(data: bytes) -> None:
    for reader in (leap_seconds_list, leap_second_dat):
        table, findings = reader.read(data)
        assert table is None
        assert has_errors(findings)


@given(st.binary(max_size=300))
def test_any_bytes_give_findings_never_an_exception(data: bytes) -> None:
    for read in (leap_seconds_list.read, leap_second_dat.read):
        table, findings = read(data)
        assert table is None
        assert has_errors(findings)


@given(st.integers(0, len(LIST) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_list_is_refused_or_means_the_same(place: int, put: bytes, cut: int) -> None:
    table, findings = leap_seconds_list.read(LIST[:place] + put + LIST[place + cut :])
    if table is None:
        assert has_errors(findings)
    else:
        intact = leap_seconds_list.read(LIST)[0]
        assert table == intact


@given(st.integers(0, len(DAT) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_iers_file_gives_a_lawful_table_or_findings(place: int, put: bytes, cut: int) -> None:
    table, findings = leap_second_dat.read(DAT[:place] + put + DAT[place + cut :])
    assert (table is None) == has_errors(findings)


BROKEN_DATS = [
    ("expiry-missing", b"#  File expires on", b"#  File is good until"),
    ("expiry-not-a-date", b"28 June 2027", b"28 Juno 2027"),
    ("expiry-not-a-date", b"28 June 2027", b"31 June 2027"),
    ("expiry-not-a-date", b"28 June 2027", b"June 2027"),
    ("expiry-before-last-row", b"28 June 2027", b"28 June 2016"),
    ("columns", b"57754.0    1  1 2017       37", b"57754.0    1  1 2017"),
    ("not-a-number", b"57754.0    1  1 2017", b"57754.5    1  1 2017"),
    ("date-disagrees", b"57754.0    1  1 2017", b"57755.0    1  1 2017"),
    ("date", b"57754.0    1  1 2017", b"57754.0    1 13 2017"),
    ("not-one-second", b"57754.0    1  1 2017       37", b"57754.0    1  1 2017       39"),
    ("not-month-end", b"57754.0    1  1 2017", b"57755.0    2  1 2017"),
    ("first-row", b"    41317.0    1  1 1972       10\n", b""),
    ("not-rising", b"57754.0    1  1 2017", b"57204.0    1  7 2015"),
]


@pytest.mark.parametrize(("rule", "old", "new"), BROKEN_DATS)
def test_an_iers_file_with_one_thing_broken_gives_no_table(rule: str, old: bytes, new: bytes) -> None:
    assert DAT.count(old) == 1
    table, findings = leap_second_dat.read(DAT.replace(old, new))
    assert table is None
    assert rule in rules_of(findings)


def test_a_negative_leap_second_is_read_and_written() -> None:
    entries = (*builtin_leap_table().entries, LeapEntry(UtcLabel.parse("2028-07-01T00:00:00Z").mjd, 36))
    table = LeapTable(entries, UPDATED, UtcLabel.parse("2029-01-01T00:00:00Z"), "rehearsal")
    assert leap_seconds_list.read(leap_seconds_list.write(table), source="rehearsal") == (table, [])


def test_what_the_format_cannot_hold_is_not_written() -> None:
    builtin = builtin_leap_table()
    with pytest.raises(LeapListMisuse) as refused:
        leap_seconds_list.write(builtin)
    assert refused.value.what == "updated"
    for updated in (UtcLabel(61_000, 0, 1), UtcLabel(61_000, 86_400)):
        with pytest.raises(LeapListMisuse):
            leap_seconds_list.write(builtin, updated=updated)
    with pytest.raises(LeapListMisuse):
        leap_seconds_list.write(LeapTable(builtin.entries[1:], UPDATED, builtin.expires, "cut"))


def test_a_source_with_a_line_break_stays_in_its_comment() -> None:
    table = LeapTable(builtin_leap_table().entries, UPDATED, builtin_leap_table().expires, "a\n3692217600\t38 é")
    back, findings = leap_seconds_list.read(leap_seconds_list.write(table))
    assert findings == []
    assert back is not None
    assert back.entries == table.entries
