"""A rapid UTC beside the readings, as a column of them, late by the week, or as files of the BIPM: the table says by
how much the scale departs from it, and what is wrong with it costs the clocks nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from truechimer.formats import utcr
from truechimer.formats.utc_table import LaboratoryRow, UtcTable
from truechimer.formats.utcr import RapidUtc

from .records import Ran, clocks_true_s, run, written

NAMES = ["a", "b", "c", "d"]
DAYS, GOES_AT, STEP_H = 110, 70, 6
MJD = 60_000
MIDNIGHT_NS = (MJD - 40_587) * 86_400 * 10**9 + 37 * 10**9
DAY_NS = 86_400 * 10**9
NS = 1e-9

X = clocks_true_s(DAYS, [5e-14] * 4)[::STEP_H]
"""Clocks minus true time every six hours from 0 h UTC of MJD 60000 on."""
UTCR_S = np.round(
    NS * 0.5 * np.maximum(np.arange(DAYS) - GOES_AT, 0.0)
    + np.random.default_rng(3).normal(size=DAYS) * 0.3 * NS
    - X[:: 24 // STEP_H, 0],
    10,
)
"""UTCr minus clock a at 0 h UTC, in tenths of ns: from day 70 on the scale falls behind by 0.5 ns a day."""


def clock_rows(epoch: int) -> list[str]:
    at = MIDNIGHT_NS + epoch * STEP_H * 3_600 * 10**9
    return [f"{at},{NAMES[i]},a,{float(X[epoch, i] - X[epoch, 0])!r},1e-12" for i in range(1, 4)]


def utcr_row(day: int, value: float | None = None) -> str:
    return f"{MIDNIGHT_NS + day * DAY_NS},UTCr,a,{float(UTCR_S[day]) if value is None else value!r},3e-10"


def daily() -> list[str]:
    a_day = 24 // STEP_H
    return [row for k in range(len(X)) for row in (*clock_rows(k), *([utcr_row(k // a_day)] if k % a_day == 0 else []))]


def weekly() -> list[str]:
    """Each week's values three days and some hours after its last."""
    lines, given = [], 0
    for k in range(len(X)):
        known = int((k * STEP_H / 24.0 - 9.6) // 7 + 1) * 7
        lines += clock_rows(k)
        while given < min(known, DAYS):
            lines.append(utcr_row(given))
            given += 1
    return lines


def bipm_files(folder: Path) -> list[Path]:
    paths = []
    for week in range(DAYS // 7):
        days = range(7 * week, 7 * week + 7)
        row = LaboratoryRow("XYZ", "Here", tuple(round(float(UTCR_S[day]) / NS, 1) for day in days))
        paths.append(folder / f"utcr_26{week + 1:02d}")
        value = RapidUtc(f"26{week + 1:02d}", UtcTable(tuple(MJD + day for day in days), (row,)))
        paths[-1].write_bytes(utcr.write(value))
    return paths


def departures(ran: Ran) -> list[dict[str, Any]]:
    assert ran.status == 0, ran.err
    return [event for event in ran.document["events"] if event["what"] == "scale-departs"]


def test_a_departure_is_told_the_same_however_the_values_came(capsys: Any, tmp_path: Path) -> None:
    plain = [row for k in range(len(X)) for row in clock_rows(k)]
    found = {
        "daily": run(capsys, written(tmp_path / "daily.csv", daily()), "--json"),
        "weekly": run(capsys, written(tmp_path / "weekly.csv", weekly()), "--json"),
        "files": run(
            capsys, written(tmp_path / "plain.csv", plain), "--utcr", *bipm_files(tmp_path), "--utck", "XYZ=a", "--json"
        ),
    }
    for ran in found.values():
        first = departures(ran)[0]
        assert ran.document["rejected_count"] == 0
        assert first["reference"] == "UTCr"
        assert -5e-9 < first["size_s"] < -3e-9
        assert first["u_size_s"] < 0.5e-9
        assert first["expected_s"] > 0.0
        day = (first["value_tai_ns"] - MIDNIGHT_NS) / DAY_NS
        assert GOES_AT + 6 < day < GOES_AT + 14
    of_week, of_files = departures(found["weekly"])[0], departures(found["files"])[0]
    assert of_week["value_tai_ns"] == of_files["value_tai_ns"]
    assert of_week["from_tai_ns"] == of_files["from_tai_ns"]
    assert of_week["size_s"] == pytest.approx(of_files["size_s"], abs=1e-11)
    # said when the week came, not before
    assert 3.5 * DAY_NS <= of_week["from_tai_ns"] - of_week["value_tai_ns"] <= 10 * DAY_NS
    table = run(capsys, tmp_path / "daily.csv").out
    assert "departs from UTCr by -" in table
    assert not departures(run(capsys, tmp_path / "daily.csv", "--departure-limit", "1e-6", "--json"))


def test_utck_may_be_a_reference_that_a_clock_is_read_against(capsys: Any, tmp_path: Path) -> None:
    lines = []
    for k in range(len(X)):
        lines += clock_rows(k)
        if k % 4 == 2:  # twelve hours from 0 h on either side
            at = MIDNIGHT_NS + k * STEP_H * 3_600 * 10**9
            lines.append(f"{at},UTC.XYZ,a,0.0,1e-10")
    ran = run(capsys, written(tmp_path / "r.csv", lines), "--utcr", *bipm_files(tmp_path), "--utck", "XYZ", "--json")
    assert -5e-9 < next(each for each in departures(ran) if each["reference"] == "UTCr")["size_s"] < -3e-9


def test_what_is_wrong_with_a_reference_costs_the_clocks_nothing(capsys: Any, tmp_path: Path) -> None:
    lines = daily()
    clean = run(capsys, written(tmp_path / "clean.csv", lines), "--json").document
    at = next(k for k, line in enumerate(lines) if line.startswith(utcr_row(40).split(",", 1)[0]) and "UTCr" in line)
    cases = {
        "future-reference": [*lines[:at], utcr_row(DAYS - 1), *lines[at + 1 :]],
        "late-reference": [*lines[: at + 1], utcr_row(20), *lines[at + 1 :]],
        "duplicate": [*lines[: at + 1], utcr_row(40, 5e-9), *lines[at + 1 :]],
        "not-a-number": [*lines[:at], utcr_row(40).replace(f"{float(UTCR_S[40])!r}", "nan"), *lines[at + 1 :]],
    }
    for rule, wrong in cases.items():
        ran = run(capsys, written(tmp_path / "wrong.csv", wrong), "--json")
        assert [each["rule"] for each in ran.document["rejected"]] == [rule]
        assert [c["epochs"] for c in ran.document["clocks"]] == [c["epochs"] for c in clean["clocks"]]
    jump = [*lines[:at], utcr_row(40, float(UTCR_S[40]) + 1e-6), *lines[at + 1 :]]
    ran = run(capsys, written(tmp_path / "jump.csv", jump), "--json")
    off = [event for event in ran.document["events"] if event["what"] == "reference-off"]
    assert [round(each["size_s"] / NS) for each in off] == [pytest.approx(1_000, abs=2)]
    assert (
        departures(ran)[0]["from_tai_ns"] == departures(run(capsys, tmp_path / "clean.csv", "--json"))[0]["from_tai_ns"]
    )


def test_files_of_the_bipm_that_do_not_belong_are_refused_with_a_word(capsys: Any, tmp_path: Path) -> None:
    readings = written(tmp_path / "r.csv", daily()[:400])
    week = bipm_files(tmp_path)[0]
    for words, says in (
        (("--utcr", week), "give both, or neither"),
        (("--utck", "XYZ"), "give both, or neither"),
        (("--utcr", week, "--utck", "QQQ=a"), "there is no laboratory QQQ"),
        (("--utcr", week, "--utck", "XYZ"), "no reading names UTC.XYZ"),
        (("--utcr", readings, "--utck", "XYZ=a"), "UTCr-UTC(k)"),
        (("--utcr", tmp_path / "none", "--utck", "XYZ=a"), "none"),
        (("--departure-limit", "3"), "is no limit"),
    ):
        ran = run(capsys, readings, *words)
        assert ran.status == 2, words
        assert says in ran.err, (words, ran.err)
    # two files of one week that say otherwise: the first counts, and it is said
    other = tmp_path / "again"
    other.write_bytes(week.read_bytes().replace(b"2601", b"2602"))
    text = other.read_text().splitlines()
    other.write_text("\n".join(line.replace(line.split()[-1], "999.9") if "XYZ" in line else line for line in text))
    ran = run(capsys, readings, "--utcr", week, other, "--utck", "XYZ=a", "--json")
    assert "two-values" in {each["rule"] for each in ran.document["noticed"]}
