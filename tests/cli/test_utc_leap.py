"""`truechimer utc leap`: the table with its votes, forged notices refused, and the rehearsal."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.formats.test_exchange_files import POSITIVE

from truechimer import client
from truechimer.cli.__main__ import main
from truechimer.formats import bulletin_c, leap_seconds_list
from truechimer.instants import LeapEntry, UtcLabel, builtin_leap_table
from truechimer.instants.mjd import to_calendar

BULLETIN = bulletin_c.read(POSITIVE.encode())[0]
assert BULLETIN is not None
MJD = BULLETIN.next_mjd
YEAR, MONTH, _ = to_calendar(MJD - 100)
BEFORE = f"{YEAR}-{MONTH:02d}-01"


def table(folder: Path, name: str, *, leap: bool) -> Path:
    """A list that is valid around the bulletin's day, with its leap second or without."""
    whole = builtin_leap_table()
    entries = tuple(entry for entry in whole.entries if entry.mjd < MJD)
    if leap:
        entries = (*entries, LeapEntry(MJD, entries[-1].tai_minus_utc_s + 1))
    made = replace(whole, entries=entries, expires=UtcLabel(MJD + 150, 0))
    path = folder / name
    path.write_bytes(leap_seconds_list.write(made, updated=UtcLabel(MJD - 180, 0)))
    return path


def told(words: list[str], capsys: pytest.CaptureFixture[str], status: int) -> dict[str, Any]:
    assert main(["utc", "leap", *words, "--json"]) == status
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_a_notice_that_the_tables_deny_is_refused_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = tmp_path / "bulletinc.txt"
    forged.write_text(POSITIVE)
    words = ["--table", str(table(tmp_path, "ours", leap=False)), "--at", BEFORE, str(forged)]
    body = told([*words, f"NIST={table(tmp_path, 'theirs', leap=False)}"], capsys, 0)
    assert [row["verdict"] for row in body["votes"]] == ["no-leap"]
    assert body["notices_refused"] == 1
    assert body["votes"][0]["refused"] == [str(forged)]
    main(["utc", "leap", *words])
    assert "refused" in capsys.readouterr().out


def test_a_leap_second_that_table_list_and_bulletin_announce_is_agreed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bulletin = tmp_path / "bulletinc.txt"
    bulletin.write_text(POSITIVE)
    ours, theirs = table(tmp_path, "ours", leap=True), table(tmp_path, "theirs", leap=True)
    body = told(["--table", str(ours), "--at", BEFORE, "--need", "3", str(bulletin), str(theirs)], capsys, 0)
    assert [(row["verdict"], row["step_s"], len(row["for"])) for row in body["votes"]] == [("agreed", 1, 3)]
    # the table in force does not know it: enough others say so, and nobody but an order changes it
    old = table(tmp_path, "old", leap=False)
    body = told(["--table", str(old), "--at", BEFORE, str(bulletin), str(theirs)], capsys, 0)
    assert body["votes"][0]["verdict"] == "agreed"
    assert body["votes"][0]["against"] == ["the table in force"]


def test_a_damaged_table_has_no_voice_and_an_expired_one_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path, "ours", leap=True)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(path.read_bytes().replace(b"\t37\t", b"\t38\t"))
    body = told(["--table", str(path), "--at", BEFORE, str(damaged)], capsys, 1)
    assert len(body["files_refused"]) >= 1
    assert body["votes"][0]["verdict"] == "disputed"
    assert body["votes"][0]["for"] == ["the table in force"]
    assert told(["--table", str(path), "--at", "2099-01-01"], capsys, 1)["table"]["expired"]


def test_the_rehearsal_tells_each_protocol_and_what_has_no_door(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rehearse", "--date", "2026-12-31", "--step", "+1", "--around", "1"]
    body = told(words, capsys, 0)
    assert (body["day"], body["step_s"], body["supposed"], body["smear"]) == ("2026-12-31", 1, True, "none")
    assert body["doors"]["ntp"]
    assert not body["doors"]["ptp"]
    assert any(row["utc"] == "2026-12-31T23:59:60Z" for row in body["rows"])
    assert main(["utc", "leap", *words, "--protocol", "ntp,page"]) == 0
    text = capsys.readouterr().out
    assert "2026-12-31T23:59:60Z  LI 1 23:59:59  23:59:60 TAI-UTC 37" in text
    assert "roughtime" not in text
    assert told(["rehearse", "--at", "2026-11-22"], capsys, 0)["day"] == "2026-12-31"


def test_a_laboratory_s_own_table_and_doors_are_rehearsed_from_its_file_or_while_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "LAB.toml"
    table(tmp_path, "ours.list", leap=True)
    place.write_text(
        '[lab]\nname = "x"\nleap_seconds_file = "ours.list"\n[[source]]\nname = "a"\nkind = "ntp"\n'
        'address = "192.0.2.1:123"\n[[listener]]\nprotocol = "ntp"\nsmear = "linear-24h"\n'
    )
    body = told(["rehearse", "--lab", str(place), "--at", BEFORE], capsys, 0)
    assert not body["supposed"]
    assert body["laboratory"]["doors"] == [{"protocol": "ntp", "port": 11123, "smear": "linear-24h"}]
    inserted = next(row for row in body["rows"] if row["utc"].endswith("23:59:60Z"))
    assert inserted["ntp-smear"]["served_minus_utc_s"] == pytest.approx(-0.5, abs=1e-4)
    assert inserted["ntp-smear"]["refid"].startswith("254.")
    # while it runs: what it says
    entries = [[one.mjd, one.tai_minus_utc_s] for one in builtin_leap_table().entries]
    leap = {"entries": entries, "expires": "2099-01-01T00:00:00Z", "source": "order 1"}
    monkeypatch.setattr(client, "ask", lambda *_, **__: {"leap": leap, "listeners": [{"protocol": "ntp", "port": 9}]})
    assert main(["utc", "leap", "rehearse", "--lab", str(place), "--at", BEFORE]) == 0
    text = capsys.readouterr().out
    assert "table: order 1 (it runs)" in text
    assert "doors: ntp port 9" in text
    monkeypatch.setattr(client, "ask", lambda *_, **__: {"leap": {}})
    assert main(["utc", "leap", "rehearse", "--lab", str(place)]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["rehearse", "x.list"],
        ["rehearse", "--date", "2026-12-30", "--step", "+1"],
        ["rehearse", "--date", "2026-13-30"],
        ["rehearse", "--protocol", "smoke"],
        ["--date", "2026-12-31"],
        ["--need", "0"],
        ["--at", "yesterday"],
        ["no-such-file"],
    ],
)
def test_wrong_use_is_one_line_and_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["utc", "leap", *words])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    assert status == 2
    assert "Traceback" not in capsys.readouterr().err
