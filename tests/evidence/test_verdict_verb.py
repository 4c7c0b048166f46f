"""`truechimer verdict` on a directory: the sentence first, one document, status 0 only where every second is proved."""

import json
from pathlib import Path

import pytest
from tests.laboratory.test_verdict import FORGED_AT, SECONDS, after, rechained, recorded

from truechimer.cli.__main__ import main
from truechimer.store.sqlite_records import SqliteRecords


def write(folder: Path, log: list[bytes]) -> Path:
    (folder / "evidence").mkdir(parents=True)
    store = SqliteRecords(folder / "evidence" / "records.sqlite3")
    store.append(enumerate(log))
    store.close()
    return folder


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("laboratory") / "lab", recorded()[0])


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def change(body: dict[str, object]) -> None:
        if after(body):
            body["anchor_tai_fs"] = str(int(str(body["anchor_tai_fs"])) + 10**12)

    return write(tmp_path_factory.mktemp("laboratory") / "lab", rechained(recorded()[0], change))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    status = main(["verdict", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_clean_directory_is_proved_whole_and_the_status_says_so(
    laboratory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, document = told(capsys, "--log", str(laboratory))
    assert status == 0
    assert document["seconds"]["moved"] == document["seconds"]["unproved"] == 0  # type: ignore[index]
    assert document["seconds"]["proved"] >= SECONDS - 8  # type: ignore[index]
    assert document["against"] == "simulated-utc"
    assert document["chain"]["whole"] is document["replay"]["same"] is True  # type: ignore[index]
    assert document["policy"]["given"] is False  # type: ignore[index]


def test_an_interval_is_named_in_utc_or_mjd_and_what_lies_outside_is_not_proved(
    laboratory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, document = told(capsys, "--log", str(laboratory), "--no-replay")
    begin, end = str(document["from"]), str(document["to"])
    status, inside = told(capsys, "--log", str(laboratory), "--no-replay", "--from", begin, "--to", end)
    assert status == 0
    assert inside["segments"] == document["segments"]
    status, more = told(capsys, "--log", str(laboratory), "--no-replay", "--from", "2026-11-18T00:00:00Z", "--to", end)
    assert status == 1
    assert more["seconds"]["proved"] == document["seconds"]["proved"]  # type: ignore[index]
    assert more["segments"][0]["verdict"] == "unproved"  # type: ignore[index]
    _, days = told(capsys, "--log", str(laboratory), "--no-replay", "--from", "61000", "--to", "61000.5")
    assert days["seconds"] == {"proved": 0, "unproved": 43_200, "moved": 0}


def test_a_forged_directory_says_moved_by_how_much_and_what_came_before(
    forged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, document = told(capsys, "--log", str(forged))
    assert status == 1
    moved = [one for one in document["segments"] if one["verdict"] == "moved"]  # type: ignore[union-attr]
    assert sum(one["seconds"] for one in moved) >= SECONDS - FORGED_AT - 3
    assert moved[0]["moved_s"] == pytest.approx(1e-3, rel=1e-3)
    assert moved[0]["envelope_signed_by"] == ["operator"]
    assert "last_proved" in moved[0]
    assert main(["verdict", "--log", str(forged)]) == 1
    assert capsys.readouterr().out.startswith("THE TIME WAS MOVED in ")


def test_wrong_use_is_one_line_and_status_2(
    laboratory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write(tmp_path / "empty", [])
    strange = tmp_path / "policy.json"
    strange.write_text("{}")
    for words in (
        ["--log", str(tmp_path / "nowhere")],
        ["--log", str(empty)],
        ["--log", str(laboratory), "--from", "yesterday"],
        ["--log", str(laboratory), "--from", "1e9"],
        ["--log", str(laboratory), "--from", "2026-11-19T00:00:00Z", "--to", "2026-11-18T00:00:00Z"],
        ["--log", str(laboratory), "--policy", str(tmp_path / "none.json")],
        ["--log", str(laboratory), "--policy", str(strange)],
    ):
        assert main(["verdict", *words]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert "Traceback" not in said.err
    with pytest.raises(SystemExit) as ended:
        main(["verdict", "--within", "-1"])
    assert ended.value.code == 2
