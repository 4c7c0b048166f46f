"""The history holds what the journal says, exactly, only what is new is written, and it never says more than it has."""

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.store.history_journals import bodies, content, journal, log, number, short

from truechimer.cli import export_verb
from truechimer.errors import Misuse, Rejected
from truechimer.evidence.kinds import KINDS, NOTED
from truechimer.store import history, history_export, history_manifest, history_tables
from truechimer.store.history import History
from truechimer.store.history_export import extend, verify
from truechimer.store.history_manifest import HistoryRejected
from truechimer.store.history_tables import DECODED_KINDS, TABLES
from truechimer.store.sqlite_records import SqliteRecords

# ---- what it holds ---------------------------------------------------------------------------------------------------


def test_every_kind_of_record_that_says_what_the_time_was_has_its_place_in_the_history() -> None:
    assert set(KINDS) - NOTED - {"order"} == DECODED_KINDS


def test_values_that_were_published_and_receivers_that_were_doubted_have_a_row_each() -> None:
    place = {"seq": 7, "epoch_tai_ns": "1800000000000000000"}
    value = {"mjd": "61000.0 d", "became": "taken", "path": "UTCr", "epoch_tai_ns": "1799900000000000000"}
    value |= {"published": "1.25e-09 s", "utc_minus_scale": "-3e-09 s", "u": "5e-10 s"}
    nowhere = {"mjd": "61001.0 d", "became": "no path"}
    file = place | {"kind": "published", "name": "UTCr_2601", "sha256": "ab", "outcome": "taken"}
    rows = list(history_tables.Decoder().rows(file | {"values": [value, nowhere]}))
    of_file = (7, 1800000000000000000, "UTCr_2601", "ab", "taken")
    assert rows == [("published", (*of_file, "UTCr", 1799900000000000000, "s", 1.25e-9, -3e-9, 5e-10, "taken"))]
    assert len(rows[0][1]) == len(TABLES["published"])
    doubted = place | {"kind": "link-quality", "receiver": "r", "link": "gps", "level": "doubted"}
    rows = list(history_tables.Decoder().rows(doubted | {"reasons": [["jammed", "doubted"]]}))
    assert rows == [("link_quality", (7, 1800000000000000000, "r", "gps", "doubted", "jammed=doubted"))]
    assert len(rows[0][1]) == len(TABLES["link_quality"])
    strange = file | {"values": [value | {"published": "1 kg"}]}
    with pytest.raises(history_tables.HistoryRecordRejected, match="neither"):
        list(history_tables.Decoder().rows(strange))


def test_every_figure_of_the_scale_stands_in_the_history_to_the_last_bit(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    lab, out = made[0], tmp_path / "again"
    done = extend(out, lab)
    assert (done.stopped, done.records_added, done.journal_records) == (None, len(log()), len(log()))
    assert done.manifest.through_seq == len(log()) - 1
    assert dict(done.manifest.without_table) == {}
    steps, asked = bodies("scale-step"), History(out)
    found = asked.read("scale_steps")
    names = [clock["name"] for clock in bodies("run-start")[0]["clocks"]]
    for column in ("x_clock_minus_scale_s", "weight"):
        expected = np.array([number(text) for step in steps for text in step[column]])
        np.testing.assert_array_equal(found[column], expected)
        assert expected.dtype == found[column].dtype == np.float64
    assert list(found["clock"]) == names * len(steps)
    assert list(found["seq"]) == [step["seq"] for step in steps for _ in names]
    assert list(found["epoch_tai_ns"]) == [int(step["epoch_tai_ns"]) for step in steps for _ in names]
    given = bodies("readings")
    readings = asked.read("readings", columns=("seq", "x_a_minus_b_s", "u_s"))
    expected = [number(x) for body in given for x in body["x_a_minus_b_s"] if x is not None]
    np.testing.assert_array_equal(readings["x_a_minus_b_s"], np.array(expected))
    assert len(asked.read("alerts")["seq"]) == len(bodies("alert"))
    assert len(asked.read("selections")["seq"]) == len(bodies("selection"))
    assert len(asked.read("steering")["seq"]) == len(bodies("steer")) + len(bodies("coordination-start"))
    served = asked.read("served_time")
    whole_fs = [
        int(n) * 10**6 + int(fs) for n, fs in zip(served["epoch_tai_ns"], served["anchor_sub_ns_fs"], strict=True)
    ]
    assert whole_fs == [int(body["anchor_tai_fs"]) for body in bodies("served-time")]
    asked.close()
    assert verify(out, lab) == []


@pytest.mark.slow
def test_a_history_made_in_pieces_is_the_history_made_at_once(tmp_path: Path, out: Path) -> None:
    pieces = tmp_path / "pieces"
    third = len(short()) // 3
    for end in (1, third, third + 1, len(short())):
        path = journal(tmp_path / "lab", short()[:end])
        before = history_manifest.read(pieces)
        done = extend(pieces, path)
        assert done.manifest.through_seq == end - 1
        assert done.records_added == end - (0 if before is None else before.through_seq + 1)
        assert verify(pieces, path) == []
    extend(out, path)
    assert content(pieces) == content(out)
    assert sorted(path.name for path in pieces.rglob("*.parquet")) == sorted(
        path.name for path in out.rglob("*.parquet")
    )
    assert len({segment.day for segment in done.manifest.segments}) >= 2


def test_where_nothing_is_new_nothing_is_written(made: tuple[Path, Path], tmp_path: Path) -> None:
    lab, out = made[0], tmp_path / "copy"
    shutil.copytree(made[1], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert extend(out, lab).records_added == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_day_with_many_rows_becomes_several_files(lab: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_export, "ROWS_AT_ONCE", 500)
    monkeypatch.setattr(history_export, "ROWS_OF_A_SEGMENT", 1_200)
    done = extend(out, lab)
    assert max(segment.rows for segment in done.manifest.segments) <= 1_200
    days = {(segment.table, segment.day) for segment in done.manifest.segments}
    assert len(done.manifest.segments) > len(days)
    assert verify(out, lab) == []
    assert len(list(out.rglob("*.parquet"))) == len(done.manifest.segments)


@pytest.mark.slow
def test_a_laboratory_that_is_running_is_exported_as_far_as_it_is(tmp_path: Path, out: Path) -> None:
    path = journal(tmp_path / "lab", log()[:50])
    writer = SqliteRecords(path)
    writer.append([(50, log()[50])])
    assert extend(out, path).manifest.through_seq == 50
    writer.append([(51, log()[51])])
    assert extend(out, path).manifest.through_seq == 51
    writer.close()


# ---- questions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(made: tuple[Path, Path]) -> Iterator[History]:
    opened = History(made[1])
    yield opened
    opened.close()


def test_an_interval_and_some_clocks_are_what_is_asked_for(asked: History) -> None:
    whole = asked.read("scale_steps")
    epochs = np.unique(whole["epoch_tai_ns"])
    first, before = int(epochs[10]), int(epochs[150])
    names = sorted(set(whole["clock"]))[:2]
    found = asked.read(
        "scale_steps", columns=("weight", "clock"), first_tai_ns=first, before_tai_ns=before, only={"clock": names}
    )
    inside = (whole["epoch_tai_ns"] >= first) & (whole["epoch_tai_ns"] < before) & np.isin(whole["clock"], names)
    np.testing.assert_array_equal(found["weight"], whole["weight"][inside])
    assert list(found["clock"]) == list(whole["clock"][inside])
    assert 0 < len(found["clock"]) < len(whole["clock"])
    for edges in ({"before_tai_ns": int(epochs[0])}, {"first_tai_ns": int(epochs[-1]) + 1}, {"first_tai_ns": 10**40}):
        assert len(asked.read("scale_steps", **edges)["seq"]) == 0
    assert len(asked.read("scale_steps", before_tai_ns=-(10**40))["seq"]) == 0
    assert len(asked.read("scale_steps", first_tai_ns=-(10**40), before_tai_ns=10**18 * 9)["seq"]) == len(whole["seq"])


def test_means_are_those_of_the_rows(asked: History) -> None:
    rows = asked.read("scale_steps")
    found = asked.means("scale_steps", "weight", step_s=3600.0, by="clock")
    assert len(found["mean"]) > 20
    for k in range(0, len(found["mean"]), 7):
        mine = (
            (rows["epoch_tai_ns"] // (3600 * 10**9) * 3600 * 10**9 == found["epoch_tai_ns"][k])
            & (rows["clock"] == found["clock"][k])
            & ~np.isnan(rows["weight"])
        )
        values = rows["weight"][mine]
        assert found["mean"][k] == pytest.approx(values.mean(), rel=1e-12)
        assert (found["lowest"][k], found["highest"][k], found["number"][k]) == (
            values.min(),
            values.max(),
            len(values),
        )
    assert len(asked.means("served_time", "bound_s", step_s=60.0, before_tai_ns=0)["mean"]) == 0


def test_wrong_questions_are_misuse(asked: History, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (
        lambda: asked.read("records"),
        lambda: asked.read("readings", columns=("seq; DROP TABLE x",)),
        lambda: asked.read("readings", only={"x": ("a",)}),
        lambda: asked.means("readings", "clock_a", step_s=1.0),
        lambda: asked.means("readings", "u_s", step_s=0.0),
        lambda: asked.means("readings", "u_s", step_s=float("nan")),
    ):
        with pytest.raises(Misuse):
            call()
    monkeypatch.setattr(history, "ROWS_OF_AN_ANSWER", 10)
    with pytest.raises(HistoryRejected, match="ask for less"):
        asked.read("readings")


@pytest.mark.slow
def test_a_reader_finds_what_an_export_replaced_meanwhile(tmp_path: Path, out: Path) -> None:
    path = journal(tmp_path / "lab", short()[:100])
    extend(out, path)
    reader = History(out)
    before = len(reader.read("readings")["seq"])
    journal(tmp_path / "lab", short())
    extend(out, path)
    assert len(reader.read("readings")["seq"]) > before
    shutil.rmtree(out / "readings")
    with pytest.raises(HistoryRejected, match="export again"):
        reader.read("readings")
    reader.close()


@pytest.mark.slow
def test_files_of_a_version_with_fewer_columns_are_read_and_gone_on_with(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = journal(tmp_path / "lab", short()[:100])
    fewer = {table: dict(columns) for table, columns in TABLES.items()}
    del fewer["readings"]["raw_ns"]
    real = history_tables.Decoder._readings
    with monkeypatch.context() as older:
        older.setattr(history, "TABLES", fewer)
        older.setattr(
            history_tables.Decoder,
            "_readings",
            lambda self, body: ((table, row[:-1]) for table, row in real(self, body)),
        )
        extend(out, path)
    asked = History(out)
    assert np.ma.getmaskarray(asked.read("readings")["raw_ns"]).all()
    asked.close()
    journal(tmp_path / "lab", short())
    assert extend(out, path).stopped is None
    extend(tmp_path / "new", path)
    old, new = content(out)["readings"], content(tmp_path / "new")["readings"]
    assert [row[:-1] for row in old] == [row[:-1] for row in new]


# ---- the verb --------------------------------------------------------------------------------------------------------


def test_the_verb_says_how_far_the_history_reaches(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab, out = made[0], tmp_path / "out"
    assert export_verb.main(["parquet", str(lab.parent), "--out", str(out), "--json", "--verify"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["through_seq"] == told["journal_records"] - 1 == len(log()) - 1
    assert (told["lag_records"], told["faults"], told["records_added"]) == (0, [], len(log()))
    assert told["rows"]["readings"] > 1_000
    assert export_verb.main(["parquet", "--lab", str(lab.parent), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "0 records added" in said
    assert f"record {len(log()) - 1} of {len(log()) - 1}" in said


@pytest.mark.slow
def test_the_verb_answers_no_where_a_part_is_missing(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = journal(tmp_path / "lab", short()[:60])
    with sqlite3.connect(path) as db:
        (trigger,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'records_stay'").fetchone()
        db.execute("DROP TRIGGER records_stay")
        db.execute("UPDATE records SET data = CAST(replace(CAST(data AS TEXT), 'e-', 'e+') AS BLOB) WHERE seq = 20")
        db.execute(trigger)
    db.close()
    with pytest.raises(Rejected, match="entry 20 of records is damaged"):
        export_verb.main(["parquet", str(path.parent), "--out", str(out)])
    longer = journal(tmp_path / "longer", (*short()[:30], b"[]"))
    assert export_verb.main(["parquet", str(longer.parent), "--out", str(out), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["lag_records"] == 1
    assert "stopped" in told


def test_the_verb_refuses_what_it_cannot_do_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = journal(tmp_path / "lab", short()[:5])
    with pytest.raises(SystemExit) as left:
        export_verb.main(["parquet", str(lab.parent), "--lab", str(lab.parent), "--out", str(tmp_path / "a")])
    assert left.value.code == 2
    with pytest.raises(Rejected, match="name a laboratory's directory"):
        export_verb.main(["parquet", str(tmp_path / "none"), "--out", str(tmp_path / "a")])
    monkeypatch.setitem(sys.modules, "duckdb", None)
    for name in ("history", "history_export"):
        monkeypatch.delitem(sys.modules, f"truechimer.store.{name}")
        monkeypatch.delattr(f"truechimer.store.{name}")
    with pytest.raises(Rejected, match=r"\./truechimer export parquet") as refused:
        export_verb.main(["parquet", str(lab.parent), "--out", str(tmp_path / "a")])
    assert "\n" not in str(refused.value)
