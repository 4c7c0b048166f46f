"""Archives of CGGTTS files: every part is read with its own lines, and days of one clock become one file."""

from dataclasses import replace

import numpy as np
import pytest
from tests.formats.test_cggtts import BODIES, HEADER, file_of

from truechimer.formats import cggtts, cggtts_archive
from truechimer.formats.cggtts_archive import ArchiveRejected, joined, read_all, read_parts, write_all
from truechimer.formats.finding import Finding

NEXT_DAY = tuple(
    body.replace(" 60258 001000 ", " 60259 000600 ").replace(" 60258 002600", " 60259 002200") for body in BODIES
)


def test_every_part_of_an_archive_is_read_with_the_lines_of_the_archive() -> None:
    damaged = file_of(NEXT_DAY).replace(b"+723779", b"+723778")
    files, findings = read_all(file_of() + damaged)
    assert [len(file.tracks) for file in files] == [4, 3]
    lines = (file_of() + damaged).split(b"\n")
    assert [(each.rule, each.line) for each in findings] == [("track-checksum", len(file_of().split(b"\n")) + 20)]
    assert b"+723778" in lines[(findings[0].line or 0) - 1]
    for file in files:
        for line, refsys in zip(file.tracks.line.tolist(), file.tracks.refsys_100ps.tolist(), strict=True):
            assert str(abs(refsys)).encode() in lines[line - 1]


def test_an_archive_is_written_again_byte_for_byte() -> None:
    data = file_of() + file_of(NEXT_DAY)
    assert write_all(read_all(data)[0]) == data
    assert write_all(read_all(data[:-1])[0]) == data[:-1]


def test_a_file_whose_last_line_was_not_ended_is_told_from_the_next() -> None:
    files, findings = read_all(file_of()[:-1] + file_of(NEXT_DAY))
    assert findings == []
    assert [len(file.tracks) for file in files] == [4, 4]
    assert files[1].tracks.line.tolist() == [line + len(file_of().split(b"\n")) - 2 for line in files[0].tracks.line]


def test_a_part_that_is_no_file_costs_no_other() -> None:
    cut = file_of()[:300]
    files, findings = read_all(b"\xef\xbb\xbfmail header\n" + cut + b"\n" + file_of(NEXT_DAY))
    assert [len(file.tracks) for file in files] == [4]
    assert [each.rule for each in findings if each.severity.value == "error"] == ["before-file", "no-labels"]
    assert [part.file is None for part in read_parts(cut + b"\n" + file_of())] == [True, False]


def test_the_reader_of_one_file_says_that_another_follows() -> None:
    value, findings = cggtts.read(file_of() + file_of(NEXT_DAY))
    assert value is not None
    assert len(value.tracks) == 4
    assert [(each.rule, each.line) for each in findings] == [("another-file", len(file_of().split(b"\n")))]


def test_days_of_one_clock_are_one_file_in_order_of_time_and_what_stands_twice_is_taken_once() -> None:
    findings: list[Finding] = []
    files, _ = read_all(file_of(NEXT_DAY) + file_of() + file_of())
    whole = joined(files, findings)
    assert len(whole.tracks) == 8
    assert (np.diff(whole.tracks.mjd * 86_400 + whole.tracks.start_s) >= 0).all()
    assert [each.rule for each in findings] == ["repeated"] * 4
    assert joined(files[:1], findings) is files[0]


@pytest.mark.parametrize(
    ("old", "new"), [("LAB = XYZ", "LAB = ABC"), ("REF = UTC(XYZ)", "REF = MASER"), ("0001", "0002")]
)
def test_files_of_another_clock_or_receiver_are_not_joined(old: str, new: str) -> None:
    other = file_of(NEXT_DAY, header=tuple(line.replace(old, new) for line in HEADER))
    files, findings = read_all(file_of() + other)
    assert findings == []
    with pytest.raises(ArchiveRejected, match="in another"):
        joined(files, [])


def test_a_remark_that_forbids_all_in_view_counts_for_every_day() -> None:
    forbid = tuple(line.replace("NO COMMENTS", "NO TGD applied: USE ONLY in COMMON VIEW") for line in HEADER)
    files, _ = read_all(file_of() + file_of(NEXT_DAY, header=forbid))
    assert joined(files, []).header.common_view_only
    assert not files[0].header.common_view_only


def test_more_files_than_anybody_keeps_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cggtts_archive, "MOST_FILES", 2)
    files, findings = read_all(file_of() * 3)
    assert len(files) == 2
    assert [(each.rule, each.line) for each in findings] == [("too-many-files", 2 * file_of().count(b"\n") + 1)]
    assert replace(files[0], tracks=files[1].tracks).header.laboratory == "XYZ"


def test_a_30_s_file_that_begins_with_a_blank_is_read_alone_and_among_others() -> None:
    raw = file_of(NEXT_DAY).replace(b"CGGTTS     GENERIC DATA FORMAT VERSION = 2E", b" RAW CLOCK RESULTS")
    head = raw[: raw.index(b"CKSUM")] + b"CKSUM = 00\n\n"
    labels = b"PRN CL  MJD  STTIME TRKL ELV AZTH   REFSV      SRSV     REFSYS    SRSYS  DSG IOE MDTR SMDT MDIO SMDI "
    labels += b"MSIO SMSI ISG FR HC FRC CK\n             hhmmss\n"
    row = b"E02    60559 140800      164 1424    -1017101             554792              41  261         0      1461"
    data = head + labels + row + b"                 E1 \n"
    (alone,) = read_parts(data)
    assert alone.file is not None
    assert len(alone.file.tracks) == 1
    assert [len(part.file.tracks) for part in read_parts(file_of() + data) if part.file is not None] == [4, 1]
