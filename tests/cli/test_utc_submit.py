"""`utc submit`: files for the BIPM out of a journal on disk; what is missing is named, and wrong words are refused."""

import json
from pathlib import Path

import pytest
from tests.formats.test_cggtts import BODIES, HEADER, file_of
from tests.laboratory.test_submission import DAYS, journal

from truechimer.cli.__main__ import main
from truechimer.formats import clock_data
from truechimer.store.sqlite_records import SqliteRecords


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Write a journal of four days as a laboratory keeps it."""
    store = SqliteRecords(tmp_path / "records.sqlite3")
    store.append(list(enumerate(journal()[0])))
    store.close()
    (tmp_path / "out").mkdir()
    return tmp_path


def asked(lab: Path, *more: str) -> list[str]:
    days = ["--from", str(DAYS[1]), "--to", str(DAYS[-1])]
    codes = ["--laboratory-code", "10099", "--acronym", "XYZ"]
    return ["utc", "submit", str(lab / "records.sqlite3"), *days, *codes, "--out", str(lab / "out"), *more]


def test_clock_data_are_written_in_columns_and_what_is_left_out_is_named(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(lab, "--daily", "--json")) in (0, 1)
    body = json.loads(capsys.readouterr().out)
    (name,) = [name for name in body["files"] if name.endswith(".clk")]
    readings, findings = clock_data.read((lab / "out" / name).read_bytes())
    assert findings == []
    assert sorted({each.clock for each in readings}) == body["clocks"] == sorted(journal()[1].values())
    assert sorted({each.mjd for each in readings} | set(body["missing_days"])) == list(DAYS[1:])
    assert any("no code" in each["why"] for each in body["left_out"])
    (doubt,) = body["doubts"]
    assert "UTC(test), not UTC(XYZ)" in doubt
    words = [{"XYZ": "TEST"}.get(word, word) for word in asked(lab, "--daily", "--json")]
    assert main(words) in (0, 1)
    assert json.loads(capsys.readouterr().out)["doubts"] == []
    assert main(asked(lab, "--daily")) == 1
    assert "wrote" in capsys.readouterr().out


def test_cggtts_files_are_checked_against_their_names_and_the_laboratory(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = lab / "EZXY0160.258", lab / "GZXY0160.259"
    right.write_bytes(file_of(BODIES[:2]))
    wrong.write_bytes(file_of(BODIES[:2], header=tuple(line.replace("UTC(XYZ)", "MASER") for line in HEADER)))
    assert main(asked(lab, "--daily", "--json", "--cggtts", str(right), str(wrong))) == 1
    body = json.loads(capsys.readouterr().out)["cggtts"]
    assert body["files"] == [right.name, wrong.name]
    assert all(wrong.name in fault for fault in body["faults"])
    assert len(body["faults"]) == 3, "day, system, reference"
    assert body["days_without"] == list(DAYS[1:]), "the files are of another year"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("10099", "1009", "five digits"),
        ("XYZ", "xyz", "capital letters"),
        (str(DAYS[1]), str(DAYS[-1] + 1), "0 days"),
        ("out", "none", "no such folder"),
    ],
)
def test_wrong_words_are_refused_in_one_line(
    lab: Path, old: str, new: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [new if word == old else word.replace("/out", f"/{new}") if old == "out" else word for word in asked(lab)]
    assert main([*words, "--daily"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
