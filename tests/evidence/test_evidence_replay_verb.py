"""`truechimer evidence replay`: a laboratory's records on a disk come out in the same bytes, or the first that does not
is named.
"""

import json
import sqlite3
from pathlib import Path

import pytest
from tests.laboratory.test_replay import recorded

from truechimer.cli import evidence_verb
from truechimer.errors import Rejected
from truechimer.evidence import record
from truechimer.store.sqlite_records import SqliteRecords


@pytest.fixture
def laboratory(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    store = SqliteRecords(tmp_path / "state" / "records.sqlite3")
    store.append(enumerate(recorded(0.2, 3)))
    store.close()
    return tmp_path


def test_a_recorded_run_is_repeated_from_the_directory_or_the_file(
    laboratory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (laboratory, laboratory / "state", laboratory / "state" / "records.sqlite3"):
        assert evidence_verb.main(["replay", str(path), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["difference"] is None
        assert told["records_compared"] > 60


def test_a_record_that_was_changed_is_named_with_status_1(laboratory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = laboratory / "state" / "records.sqlite3"
    with sqlite3.connect(file) as db:
        db.execute("DROP TRIGGER records_stay")
        (data,) = db.execute("SELECT data FROM records WHERE seq = 20").fetchone()
        db.execute("UPDATE records SET data = ? WHERE seq = 20", (bytes(data).replace(b"e-", b"e+", 1),))
    db.close()
    assert evidence_verb.main(["replay", str(laboratory), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["difference"]["seq"] in (20, 21)
    assert told["difference"]["why"]
    assert evidence_verb.main(["replay", str(laboratory)]) == 1
    assert f"record {told['difference']['seq']}" in capsys.readouterr().out


def test_where_there_is_nothing_to_replay_it_says_what_to_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(Rejected, match="name a laboratory's directory"):
            evidence_verb.main(["replay", str(path)])
    (tmp_path / "records.sqlite3").write_bytes(b"no database")
    with pytest.raises(Rejected):
        evidence_verb.main(["replay", str(tmp_path)])


def test_the_encoder_that_is_made_once_writes_what_the_library_writes() -> None:
    plain = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
    for body in ({}, {"b": [None, True, 1, 'é \u2028 \x00 " \\'], "a": {"z": {}, "y": [[]]}}, {"x": "\U0001f550"}):
        assert record._dumps(body) == plain(body)
    with pytest.raises(ValueError, match="float"):
        record._dumps({"x": float("nan")})
