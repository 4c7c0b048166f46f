"""What is broken in a history, in the journal behind it or between the two is named, and never built upon."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from tests.store.history_journals import content, journal, log, short

from truechimer.evidence.record import GENESIS
from truechimer.store import history_manifest
from truechimer.store.history import History
from truechimer.store.history_export import JournalDiffersRejected, extend, verify
from truechimer.store.history_manifest import HistoryRejected


@pytest.mark.parametrize(
    "fails",
    [
        pytest.param((1, 3, 8, 20, 33), marks=pytest.mark.slow),
        pytest.param(tuple(range(1, 60)), marks=pytest.mark.acceptance),
    ],
    ids=["some", "all"],
)
def test_an_export_that_was_interrupted_anywhere_leaves_a_whole_history(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, fails: tuple[int, ...]
) -> None:
    path = journal(tmp_path / "lab", short()[:40])
    extend(out, path)
    first = content(out)
    journal(tmp_path / "lab", short()[:80])
    calls = {"n": 0, "fail": 0}

    def failing(real):
        def call(*arguments, **named):
            calls["n"] += 1
            if calls["n"] == calls["fail"]:
                raise OSError(28, "No space left on device")
            return real(*arguments, **named)

        return call

    for name in ("sync", "digest_of", "write", "remove"):
        monkeypatch.setattr(history_manifest, name, failing(getattr(history_manifest, name)))
    extend(tmp_path / "all", path)
    whole = content(tmp_path / "all")
    interrupted = 0
    for fail in fails:
        again = tmp_path / f"again-{fail}"
        shutil.copytree(out, again)
        calls.update(n=0, fail=fail)
        try:
            extend(again, path)
        except HistoryRejected as error:
            refused = str(error)
        else:
            break
        calls["fail"] = 0
        interrupted += 1
        assert "No space left" in refused
        assert content(again) in (first, whole)
        extend(again, path)
        assert content(again) == whole
        assert {p.relative_to(again).as_posix() for p in again.rglob("*") if p.is_file()} == {
            ".lock",
            "history.json",
            *(segment.file for segment in history_manifest.read(again).segments),
        }
        if fail % 5 == 0:
            assert verify(again, path) == []
        shutil.rmtree(again)
    assert interrupted > 2


@pytest.mark.slow
def test_a_changed_file_is_named_and_never_built_upon(tmp_path: Path, out: Path) -> None:
    path = journal(tmp_path / "lab", short()[:100])
    manifest = extend(out, path).manifest
    segment = max((one for one in manifest.segments if one.table == "readings"), key=lambda one: one.last_seq)
    file = out / segment.file
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    assert verify(out, path) == [f"{segment.file}: is damaged (its digest differs)"]
    journal(tmp_path / "lab", short()[:104])
    with pytest.raises(HistoryRejected, match="damaged"):
        extend(out, path)
    file.unlink()
    assert verify(out, path) == [f"{segment.file}: is missing"]


@pytest.mark.slow
def test_rows_that_the_journal_does_not_give_are_found_even_with_right_digests(tmp_path: Path, out: Path) -> None:
    import duckdb

    lab = journal(tmp_path / "lab", short())
    manifest = extend(out, lab).manifest
    segment = [one for one in manifest.segments if one.table == "scale_steps"][-1]
    file = out / segment.file
    db = duckdb.connect()
    db.execute(f"CREATE TABLE t AS SELECT * REPLACE (weight * 2 AS weight) FROM read_parquet('{file}')")
    db.execute(f"COPY t TO '{file}' (FORMAT parquet)")
    db.close()
    forged = replace(segment, stored_bytes=file.stat().st_size, sha256=history_manifest.digest_of(file))
    history_manifest.write(out, manifest.with_segment(forged, instead_of=segment))
    faults = verify(out, lab)
    assert faults
    assert "scale_steps" in faults[0]
    assert "rows differ" in faults[0]


@pytest.mark.slow
def test_a_history_is_not_continued_from_another_journal(made: tuple[Path, Path], tmp_path: Path) -> None:
    out = made[1]
    for wrong in (journal(tmp_path / "other", short()), journal(tmp_path / "part", log()[:200])):
        with pytest.raises(JournalDiffersRejected, match="name the laboratory of this history"):
            extend(out, wrong)
        with pytest.raises(JournalDiffersRejected):
            verify(out, wrong)


def chained(records: list[dict]) -> tuple[bytes, ...]:
    """Seal bodies anew, as somebody could who writes a whole journal."""
    out, before = [], GENESIS
    for seq, body in enumerate(records):
        data = json.dumps(body | {"seq": seq, "prev": before}, sort_keys=True, separators=(",", ":")).encode()
        before = sha256(data).hexdigest()
        out.append(data)
    return tuple(out)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("scale-step", {"weight": ["1.0 1"]}),
        pytest.param("scale-step", {"membership": [99] * 13}, marks=pytest.mark.slow),
        pytest.param("scale-step", {"epoch_tai_ns": "soon"}, marks=pytest.mark.slow),
        pytest.param("scale-step", {"epoch_tai_ns": str(10**30)}, marks=pytest.mark.slow),
        ("readings", {"x_a_minus_b_s": ["1.0 m"] * 16}),
        pytest.param("readings", {"x_a_minus_b_s": None}, marks=pytest.mark.slow),
        pytest.param("selection", {"selected": [77]}, marks=pytest.mark.slow),
        ("served-time", {"terms": {"u_new_s": "1.0 s"}}),
        pytest.param("served-time", {"anchor_tai_fs": None}, marks=pytest.mark.slow),
        pytest.param("alert", {"because": 7}, marks=pytest.mark.slow),
    ],
)
def test_a_record_that_cannot_be_read_ends_the_history_before_it(tmp_path: Path, kind: str, change: dict) -> None:
    records = [json.loads(data) for data in log()]
    at = next(seq for seq, body in enumerate(records) if body["kind"] == kind)
    # What stands before need not be many records: the run's start and some more.
    records = [records[0], *records[max(1, at - 6) : at], records[at] | change, *records[at + 1 : at + 4]]
    at = records.index(next(body for body in records if body | change == body))
    path = journal(tmp_path / "lab", chained(records))
    done = extend(tmp_path / "history", path)
    assert done.manifest.through_seq == at - 1
    assert done.stopped is not None
    assert f"record {at} " in done.stopped


@pytest.mark.slow
def test_a_record_that_does_not_continue_the_one_before_ends_the_history(tmp_path: Path, out: Path) -> None:
    broken = [*short()[:40], short()[40].replace(b'"seq":40', b'"seq":41'), *short()[41:60]]
    done = extend(out, journal(tmp_path / "lab", tuple(broken)))
    assert done.manifest.through_seq == 39
    assert "does not continue" in str(done.stopped)
    for number, data in enumerate((b"[1]", b"\xff", b'{"kind":1}', b"[" * 100_000)):
        path = journal(tmp_path / f"lab{number}", (*short()[:3], data))
        assert "record 3" in str(extend(tmp_path / f"out{number}", path).stopped)


def test_a_kind_without_a_table_is_counted(tmp_path: Path, out: Path) -> None:
    records = [json.loads(data) for data in short()[:10]]
    records.insert(5, {"kind": "of-a-later-version", "x": 1})
    done = extend(out, journal(tmp_path / "lab", chained(records)))
    assert (done.stopped, dict(done.manifest.without_table)) == (None, {"of-a-later-version": 1})


@pytest.mark.slow
def test_folders_of_others_and_damaged_manifests_are_left_alone(tmp_path: Path, out: Path) -> None:
    lab = journal(tmp_path / "lab", short()[:20])
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "letter.txt").write_text("dear")
    with pytest.raises(HistoryRejected, match=r"letter\.txt"):
        extend(tmp_path / "theirs", lab)
    with pytest.raises(HistoryRejected, match="mend that"):
        extend(tmp_path / "theirs" / "letter.txt", lab)
    extend(out, lab)
    manifest = json.loads((out / "history.json").read_text())
    for wrong in (
        "not json",
        "[]",
        json.dumps(manifest | {"form": 2}),
        json.dumps(manifest | {"segments": [1]}),
        json.dumps(manifest | {"segments": [manifest["segments"][0] | {"day": "../../.."}]}),
        json.dumps(manifest | {"more": 1}),
    ):
        (out / "history.json").write_text(wrong)
        for call in (lambda: extend(out, lab), lambda: History(out), lambda: verify(out, lab)):
            with pytest.raises(HistoryRejected):
                call()


def test_one_export_at_a_time_writes_a_folder(tmp_path: Path, out: Path) -> None:
    lab = journal(tmp_path / "lab", short()[:20])
    with history_manifest.alone(out), pytest.raises(HistoryRejected, match="another export"):
        extend(out, lab)
    assert extend(out, lab).stopped is None
