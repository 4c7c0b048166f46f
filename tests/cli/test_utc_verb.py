"""`truechimer utc read`: each kind is known by its text, told in a table and as JSON, and refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.formats.test_bipm_tables import AFTER, HEAD, TABLE, UTCR
from tests.formats.test_exchange_files import POSITIVE, day

from truechimer.cli.__main__ import main
from truechimer.cli.utc_verb import kind_of
from truechimer.formats import clock_data, leap_seconds_list
from truechimer.formats.clock_data import ClockReading, ClockStep
from truechimer.instants import UtcLabel, builtin_leap_table

FILES = {
    "circular-t": (HEAD + TABLE + AFTER).encode(),
    "utcr": UTCR.encode(),
    "api": b"# UTC-UTC(AAA)\r\n 55739      795.1        5.2\r\n",
    "two-way": day(of_a=True),
    "clocks": clock_data.write([ClockReading(60_004, "10023", "1350000", 5.0)]),
    "steps": clock_data.write_steps([ClockStep(60_010.5, "1350000", 12.0, 2.0, "AAA", "10023")]),
    "bulletin-c": POSITIVE.encode(),
    "finals2000a": b"16 2 1 57359.00 I -0.003225 0.000031  0.299494 0.000025  I 0.0262864 0.0000042  1.3154\n",
    "leap-list": leap_seconds_list.write(builtin_leap_table(), updated=UtcLabel.parse("2026-07-06T00:00:00Z")),
}


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["utc", "read", *words, "--json"]) == 0
    files: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["files"]
    return files


def test_every_kind_is_known_by_its_text_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for kind, data in FILES.items():
        assert kind_of(data) == kind
        paths.append(tmp_path / kind)
        paths[-1].write_bytes(data)
    documents = told([str(path) for path in paths], capsys)
    assert [document["kind"] for document in documents] == list(FILES)
    assert all(document["findings"] == [] for document in documents)
    by_kind = {document["kind"]: document for document in documents}
    assert by_kind["circular-t"]["laboratories"][0]["x_utc_minus_utck_s"]["53399"] == pytest.approx(-17.9e-9)
    assert by_kind["bulletin-c"]["leap_s"] == 1
    assert by_kind["steps"]["steps"][0]["y_step"] == pytest.approx(2e-9 / 86_400)
    assert by_kind["leap-list"]["tai_minus_utc_s"] == 37
    assert main(["utc", "read", *map(str, paths)]) == 0
    assert "AAA                    -17.9     -23.3     -17.7     5.6" in capsys.readouterr().out


def test_one_laboratory_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cirt.206"
    path.write_bytes(FILES["circular-t"])
    assert [row["code"] for row in told([str(path), "--laboratory", "BB"], capsys)[0]["laboratories"]] == ["BB"]
    assert main(["utc", "read", str(path), "--laboratory", "ZZ"]) == 2
    assert "no laboratory ZZ" in capsys.readouterr().err


def test_damage_is_named_and_what_is_of_no_kind_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cirt.206"
    path.write_bytes(FILES["circular-t"].replace(b"-23.3", b"-2x.3"))
    assert main(["utc", "read", str(path)]) == 0
    assert main(["utc", "read", str(path), "--strict"]) == 1
    assert "[value]" in capsys.readouterr().err
    for data, says in ((b"\x89PNG\r\n", "of no kind that is known"), (b"CGGTTS", "truechimer cggtts read")):
        path.write_bytes(data)
        assert main(["utc", "read", str(path)]) == 2
        err = capsys.readouterr().err
        assert says in err
        assert err.count("\n") == 1
    path.write_bytes(FILES["bulletin-c"])
    assert main(["utc", "read", str(path), "--kind", "utcr"]) == 2


def test_years_of_one_laboratory_are_told_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series, picture = tmp_path / "utc-abc", tmp_path / "record.svg"
    series.write_text("".join(f"{59_574 + 5 * k} {3.0 if k % 2 else -1.0} 0.3 2.0 2.1\n" for k in range(100)))
    assert main(["utc", "read", str(series), "--json", "--plot", str(picture)]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)["record"]["UTC"]
    assert [row["year"] for row in record["years"]] == [2021, 2022, 2023]
    assert record["all"]["n"] == 100
    assert record["all"]["rms_s"] == pytest.approx(5**0.5 * 1e-9)
    assert "wrote" in err
    assert picture.read_text().startswith("<svg")
    assert main(["utc", "read", str(series)]) == 0
    assert "2022" in capsys.readouterr().out
    assert main(["utc", "read", str(series), "--plot", str(series)]) == 2
