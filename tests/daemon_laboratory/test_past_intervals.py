"""Any past interval of a laboratory's records is repeated by itself, from the last state that was kept before it."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.laboratory import rig

from truechimer.cli import evidence_verb
from truechimer.daemon.records import past_snapshots
from truechimer.daemon.records.snapshots import STATE_KEY, Snapshots
from truechimer.errors import Rejected
from truechimer.laboratory.replay import replay
from truechimer.laboratory.snapshot import Mark, Roots
from truechimer.sim import demo_scenario
from truechimer.store.sqlite_fabric import SqliteFabric
from truechimer.store.sqlite_records import SqliteRecords

DAYS = 4.0
HOUR_NS = 3_600 * rig.NS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of hourly epochs as a service leaves them: records, the newest state, and one of each day."""
    place = tmp_path_factory.mktemp("past")
    scenario = rig.of_days(demo_scenario(), DAYS, interval_s=3_600.0)
    lab = rig.Lab(rig.start_of(scenario, envelope_days=10.0))
    root = Mark.of(0, lab.records[0])
    (place / "evidence").mkdir()
    (place / "run").mkdir()
    snapshots = Snapshots(place, say=pytest.fail)
    with closing(SqliteRecords(place / "evidence" / "records.sqlite3")) as store:
        store.append([(0, lab.records[0])])
        for batch in rig.world(scenario).history():
            known = len(lab.records)
            lab.take(batch)
            store.append(enumerate(lab.records[known:], known))
            assert snapshots.save(lab.state, Roots(root), None)
    snapshots.close()
    return place


@pytest.fixture
def store(folder: Path) -> Iterator[SqliteRecords]:
    with closing(SqliteRecords(folder / "evidence" / "records.sqlite3", read_only=True)) as found:
        yield found


def epochs(store: SqliteRecords) -> list[tuple[int, int]]:
    """Number and epoch of each `readings` record."""
    read = [(seq, json.loads(data)) for seq, data in enumerate(store.read())]
    return [(seq, int(body["epoch_tai_ns"])) for seq, body in read if body["kind"] == "readings"]


def test_the_first_epoch_from_a_moment_on_is_found_as_by_looking_at_all_of_them(store: SqliteRecords) -> None:
    found = epochs(store)
    assert len(found) > 90
    for seq, epoch_ns in found:
        assert past_snapshots.first_epoch_from(store, epoch_ns) == seq
        assert past_snapshots.first_epoch_from(store, epoch_ns - 1) == seq
    assert past_snapshots.first_epoch_from(store, found[-1][1] + 1) == store.count()
    assert past_snapshots.first_epoch_from(store, 0) == found[0][0]


def test_from_every_hour_on_the_nearest_state_is_at_most_a_day_before_and_repeats_the_rest(
    folder: Path, store: SqliteRecords
) -> None:
    found = epochs(store)
    for seq, epoch_ns in found[3::17]:
        known = past_snapshots.nearest(folder / "run" / "state.sqlite3", store, seq, STATE_KEY)
        if epoch_ns < found[0][1] + past_snapshots.DAY_NS:
            assert known is None or known.state.chain.seq <= seq
        else:
            assert known is not None
            assert 0 < epoch_ns - known.state.epoch_ns <= past_snapshots.DAY_NS + HOUR_NS
        begin = 0 if known is None else known.state.chain.seq
        again = replay(store.read(first=begin), known)
        assert again.difference is None
        assert again.compared == store.count() - begin


def utc_text(epoch_ns: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch_ns // rig.NS - 37)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_verb_repeats_an_interval_and_says_from_where(
    folder: Path, store: SqliteRecords, capsys: pytest.CaptureFixture[str]
) -> None:
    found = epochs(store)
    (first, start_ns), (last, end_ns) = found[60], found[70]
    words = ["replay", str(folder), "--from", utc_text(start_ns), "--to", utc_text(end_ns)]
    assert evidence_verb.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["first_record"], told["last_record"], told["difference"]) == (first, last - 1, None)
    assert 0 < told["replayed_from_record"] <= first
    assert told["records_compared"] == last - told["replayed_from_record"]
    assert evidence_verb.main(words) == 0
    assert f"repeated from the state kept after record {told['replayed_from_record'] - 1} on" in capsys.readouterr().out
    with pytest.raises(Rejected, match="holds no epoch in that interval"):
        evidence_verb.main(["replay", str(folder), "--from", utc_text(found[-1][1] + HOUR_NS)])
    with pytest.raises(Rejected, match="--to soon"):
        evidence_verb.main(["replay", str(folder), "--to", "soon"])


def test_a_kept_state_that_is_not_of_this_journal_is_passed_over(
    folder: Path, store: SqliteRecords, tmp_path: Path
) -> None:
    """Of the kept states one is cut short and one is made to follow another record: the one before them serves."""
    seq, epoch_ns = epochs(store)[-1]
    good = SqliteFabric(folder / "run" / "state.sqlite3", read_only=True)
    other = SqliteFabric(tmp_path / "state.sqlite3")
    for back in range(3):
        key = past_snapshots.key_of(epoch_ns - back * past_snapshots.DAY_NS)
        value = good.get(key)
        assert value is not None
        data = (value.data[:-9], value.data.replace(b'"head"', b'"haed"', 1), value.data)[back]
        other.put(key, data, expect=0)
    good.close()
    other.close()
    known = past_snapshots.nearest(tmp_path / "state.sqlite3", store, seq, STATE_KEY)
    assert known is not None
    assert epoch_ns - known.state.epoch_ns > past_snapshots.DAY_NS
    assert past_snapshots.nearest(tmp_path / "none.sqlite3", store, seq, STATE_KEY) is None
    (tmp_path / "bad.sqlite3").write_bytes(b"no database at all")
    assert past_snapshots.nearest(tmp_path / "bad.sqlite3", store, seq, STATE_KEY) is None
