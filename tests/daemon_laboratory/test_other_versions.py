"""What other versions of this program left behind, opened by this one: it goes on, or says why not and changes nothing.

The laboratories are recorded ones (tests/vectors/laboratories/README.md), and some of this version's own with another
number of the fold.
"""

import hashlib
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from tests.daemon_laboratory.laboratories import up, verb

from truechimer._version import __version__
from truechimer.daemon.records import snapshots as snapshots_module
from truechimer.daemon.records.other_version import OtherVersionRejected, look_before_opening, refuse_unless_repeated
from truechimer.laboratory import replay as replay_module
from truechimer.laboratory import run_start
from truechimer.laboratory.run_start import FOLD
from truechimer.store import sqlite_schema as schema
from truechimer.store.sqlite_records import SqliteRecords

VECTORS = Path(__file__).parents[1] / "vectors" / "laboratories"
FIRST_FORM = "before-folds-8531967"
OUR_FOLD = f"fold-{FOLD}"
THE_SAME_AS_FOLD_1 = "before-folds-b274bb3"


def laid_out(name: str, folder: Path) -> Path:
    """Lay a recorded laboratory out; return its records."""
    with tarfile.open(VECTORS / f"{name}.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    (folder / "evidence").chmod(0o700)
    return folder / "evidence" / "records.sqlite3"


def replayed(path: Path) -> replay_module.Replay:
    with closing(SqliteRecords(path, read_only=True)) as store:
        return replay_module.replay(store.read())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_this_fold_recorded_comes_out_in_the_same_bytes(tmp_path: Path) -> None:
    """Where this fails the fold makes other records: raise FOLD, say so in the changelog under Numerical, record a new
    vector.
    """
    path = laid_out(OUR_FOLD, tmp_path)
    outcome = replayed(path)
    assert outcome.difference is None, outcome.difference
    assert outcome.start is not None
    assert outcome.start.fold == FOLD
    assert outcome.compared > 200


@pytest.mark.parametrize("name", sorted(path.name.removesuffix(".tar.gz") for path in VECTORS.glob("*.tar.gz")))
def test_every_recorded_laboratory_is_repeated_or_refused_by_its_fold(name: str, tmp_path: Path) -> None:
    path = laid_out(name, tmp_path)
    outcome = replayed(path)
    if name == OUR_FOLD:
        assert outcome.difference is None, outcome.difference
    if outcome.difference is None:
        # before folds had numbers: compared, and what this laboratory went through comes out as it did then
        assert name in {OUR_FOLD, THE_SAME_AS_FOLD_1}
        return
    assert outcome.difference is not None
    if name.startswith("fold-"):
        assert f"of {name.replace('-', ' ')}" in outcome.difference.why
        assert f"fold {FOLD}" in outcome.difference.why
    with pytest.raises(OtherVersionRejected, match=r"docs/guide/operations\.md"):
        refuse_unless_repeated(path, outcome, outcome.compared)


def test_records_in_the_first_form_of_the_file_are_refused_before_the_file_is_changed(tmp_path: Path) -> None:
    path = laid_out(FIRST_FORM, tmp_path)
    before = digest(path)
    with pytest.raises(OtherVersionRejected, match=r"truechimer 0\.1\.0 wrote.*nothing was changed"):
        look_before_opening(path)
    assert digest(path) == before


@pytest.fixture
def newer_fold(monkeypatch: pytest.MonkeyPatch) -> int:
    """A later version of this program: one whose fold has the next number."""
    monkeypatch.setattr(run_start, "FOLD", FOLD + 1)
    return FOLD + 1


def test_a_newer_fold_refuses_ours_by_its_number_and_version(tmp_path: Path, newer_fold: int) -> None:
    outcome = replayed(laid_out(OUR_FOLD, tmp_path))
    assert outcome.compared == 0
    assert outcome.difference is not None
    why = outcome.difference.why
    assert f"of fold {FOLD}, truechimer {__version__} wrote them" in why
    assert f"with fold {newer_fold}" in why


def with_our_snapshot(path: Path, folder: Path) -> None:
    """Let this program open a recorded laboratory once: from then on its snapshot is this program's."""
    with closing(SqliteRecords(path)) as store:
        own = snapshots_module.Snapshots(folder, say=lambda _: None)
        found = snapshots_module.resume(store, own, say=lambda _: None).replay
        assert found.state is not None
        assert found.roots is not None
        own.save(found.state, found.roots, None)
        own.close()


def test_a_snapshot_of_another_fold_is_no_way_around_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = laid_out(OUR_FOLD, tmp_path), list[str]()
    with_our_snapshot(path, tmp_path)
    monkeypatch.setattr(run_start, "FOLD", FOLD + 1)
    with closing(SqliteRecords(path)) as store:
        own = snapshots_module.Snapshots(tmp_path, say=said.append)
        found = snapshots_module.resume(store, own, say=said.append)
        own.close()
    assert found.known == 0
    assert found.replay.difference is not None
    assert f"fold {FOLD + 1}" in found.replay.difference.why
    assert any("not of this program's fold" in line for line in said), said


def test_the_snapshot_of_our_own_fold_is_used(tmp_path: Path) -> None:
    path, said = laid_out(OUR_FOLD, tmp_path), list[str]()
    with_our_snapshot(path, tmp_path)
    with closing(SqliteRecords(path)) as store:
        own = snapshots_module.Snapshots(tmp_path, say=said.append)
        found = snapshots_module.resume(store, own, say=said.append)
        own.close()
        assert found.known + found.replayed == store.count()
    assert found.known > 0, said
    assert found.replay.difference is None


def as_if_of_fold(path: Path, number: int) -> None:
    """Write another fold's number into the first record, as a version with that fold would have begun."""
    with closing(sqlite3.connect(path)) as db, db:
        data = db.execute("SELECT data FROM records WHERE seq = 0").fetchone()[0]
        other = json.dumps(json.loads(data) | {"fold": number}, sort_keys=True, separators=(",", ":")).encode()
        db.execute("DROP TRIGGER records_stay")
        row = (other, schema.digest("records", 0, "0", other))
        db.execute("UPDATE records SET data = ?, digest = ? WHERE seq = 0", row)
        db.execute(schema.stream_objects("records")["records_stay"])


def test_evidence_replay_says_which_fold_repeats_the_records(tmp_path: Path) -> None:
    path = laid_out(OUR_FOLD, tmp_path)
    as_if_of_fold(path, 77)
    done = verb(tmp_path, "evidence", "replay", str(tmp_path))
    assert done.returncode == 1
    assert "a program with fold 77 repeats them" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", [FIRST_FORM, "of a later fold"])
def test_up_refuses_in_one_line_and_leaves_the_records_as_they_were(name: str, tmp_path: Path) -> None:
    path = laid_out(FIRST_FORM if name == FIRST_FORM else OUR_FOLD, tmp_path)
    if name != FIRST_FORM:
        as_if_of_fold(path, 77)
    before = digest(path)
    done = verb(tmp_path, "up", "LAB.toml", "--for", "5")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if "docs/guide/operations.md" in line]
    if name == FIRST_FORM:
        assert digest(path) == before


@pytest.mark.slow
def test_up_goes_on_from_what_an_earlier_program_of_the_same_fold_left(tmp_path: Path) -> None:
    path = laid_out(OUR_FOLD, tmp_path)
    known = replayed(path).compared
    with up(tmp_path) as running:
        running.until_state("freerun", "acquiring", "steered", "holdover")
        assert running.end() == 0
    assert f"resumed from {known}" in running.stderr
    outcome = replayed(path)
    assert outcome.difference is None
    assert outcome.compared > known
