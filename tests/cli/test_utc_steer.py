"""`truechimer utc steer`: values count from their publication, orders lead to UTC, and files that cannot be used say so
in one line.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from truechimer.cli import utc_published
from truechimer.cli.__main__ import main
from truechimer.formats import circular_t, published, utcr
from truechimer.formats.circular_t import CircularT
from truechimer.formats.utc_table import LaboratoryRow, UtcTable
from truechimer.formats.utcr import RapidUtc

FIRST = 60_001
"""A Sunday: the weeks of rapid UTC end on Sundays, and it comes on Wednesdays."""
RATE, DRIFT = 3e-14, 2e-16


def _truth_ns(mjd: float) -> float:
    """UTC minus a scale that drifts."""
    t = mjd - FIRST
    return 20.0 + (RATE * t + 0.5 * DRIFT * t * t) * 86_400e9


def _csv(path: Path, *, days: int = 150, late: int = 0, noise_ns: float = 0.2, extra: str = "") -> Path:
    rng = np.random.default_rng(1)
    rows = ["epoch_mjd,x_utc_minus_utck_s,u_s"]
    rows += [f"{FIRST + d},{(_truth_ns(FIRST + d) + rng.normal() * noise_ns) * 1e-9!r},3e-10" for d in range(days)]
    if late:
        rows = [f"{row},{FIRST + k - 1 + late}" if k else f"{row},available_mjd" for k, row in enumerate(rows)]
    path.write_text("\n".join([*rows, extra]) + "\n")
    return path


def _told(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    status = main(["utc", "steer", *words, "--every-h", "24", "--json"])
    assert status in {0, 1}
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_a_drifting_scale_is_brought_to_utc_within_a_nanosecond(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = _told([str(_csv(tmp_path / "u.csv"))], capsys)
    assert body["compared"]["published_rms_s"] > 1e-7
    assert body["compared"]["replayed_rms_s"] < 1e-9
    assert abs(body["forecast"]["x_utc_minus_utck_s"]) < 1e-9
    expected = RATE + DRIFT * (body["until_mjd"] - FIRST)
    assert body["forecast"]["y_steer"] == pytest.approx(expected, abs=1e-14)


def test_no_value_counts_before_the_day_of_its_publication(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Until the same day, values that come later change nothing: the orders are those of a file that ends before."""
    whole, cut = _csv(tmp_path / "whole.csv", late=10), tmp_path / "cut.csv"
    lines = whole.read_text().splitlines()
    until = FIRST + 60
    cut.write_text("\n".join([lines[0], *[each for each in lines[1:] if each and int(each.split(",")[3]) <= until]]))
    outs = []
    for path in (whole, cut):
        out = tmp_path / f"{path.stem}-orders.csv"
        _told([str(path), "--until", str(until), "--out", str(out)], capsys)
        outs.append(out.read_text())
    assert outs[0] == outs[1]
    assert len(outs[0].splitlines()) > 30


def test_circular_t_and_rapid_utc_are_read_and_come_when_they_were_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for week in range(12):
        days = tuple(range(FIRST + 1 + 7 * week, FIRST + 8 + 7 * week))
        row = LaboratoryRow("AAA", "Town", tuple(round(_truth_ns(day), 1) for day in days))
        files.append(tmp_path / f"UTCr_24{week:02d}")
        files[-1].write_bytes(utcr.write(RapidUtc(f"24{week:02d}", UtcTable(days, (row,)))))
    days = tuple(range(60_004, 60_035, 5))
    row = LaboratoryRow("AAA", "Town", tuple(round(_truth_ns(day), 1) for day in days), 0.3, 2.0, 2.0)
    files.append(tmp_path / "cirt.433")
    files[-1].write_bytes(circular_t.write(CircularT(433, 60_046, 37, UtcTable(days, (row,)))))
    found = utc_published.read(files, "AAA")
    assert {(each.path, each.available_mjd) for each in found.values if each.mjd in {60_004, 60_008}} == {
        ("UTC", 60_046),
        ("UTCr", 60_011),
    }
    assert {each.u_common_s for each in found.values if each.path == "UTC"} == {2.0e-9}
    body = _told([*map(str, files), "--laboratory", "AAA"], capsys)
    assert body["compared"]["replayed_rms_s"] < 1.5e-9
    assert body["refused"] == []


def test_the_laboratorys_own_steering_is_taken_out_of_its_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A laboratory that steered its scale perfectly publishes zeros; with its coordination the scale is seen again."""
    zeros = tmp_path / "zeros.csv"
    zeros.write_text("epoch_mjd,x_utc_minus_utck_s\n" + "".join(f"{FIRST + d},0.0\n" for d in range(100)))
    course = tmp_path / "course.csv"
    rows = [f"{FIRST + d},{_truth_ns(FIRST + d) * 1e-9!r}\n" for d in range(100)]
    course.write_text("epoch_mjd,x_utck_minus_scale_s\n" + "".join(rows))
    body = _told([str(zeros), "--coordination", str(course)], capsys)
    assert body["forecast"]["y_steer"] == pytest.approx(RATE + 100 * DRIFT, abs=2e-15)


def test_a_fountain_makes_the_forecast_surer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = _csv(tmp_path / "u.csv", days=60, late=9, noise_ns=0.5)
    rates = tmp_path / "rates.csv"
    rows = [f"{FIRST + d},{RATE + DRIFT * (d - 0.5)!r},8e-16,86400\n" for d in range(1, 65) if d % 6]
    rates.write_text("epoch_mjd,y_utc_minus_scale,u,span_s\n" + "".join(rows))
    alone = _told([str(published)], capsys)
    helped = _told([str(published), "--fountain", str(rates), "--until", str(alone["until_mjd"])], capsys)
    assert helped["forecast"]["u_s"] < 0.7 * alone["forecast"]["u_s"]


def test_limits_cut_orders_and_the_cuts_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(_csv(tmp_path / "u.csv", days=60))
    for limit, value, named in (
        ("--per-change", "1e-16", "per-change"),
        ("--per-day-ns", "1", "per-day"),
        ("--total-ns", "20", "total"),
    ):
        body = _told([path, limit, value], capsys)
        assert body["cut"] == sum(body["cut_by"].values()) > 0
        assert max(body["cut_by"], key=body["cut_by"].get) == named
        assert main(["utc", "steer", path, "--every-h", "24", limit, value]) in (0, 1)
        assert f"{limit} " in capsys.readouterr().out.partition("cut by a limit (")[2].partition(")")[0]
    assert _told([path, "--per-change", "1e-16"], capsys)["largest_change"] <= 1e-16


def test_a_table_and_a_picture_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "p.svg"
    words = ["utc", "steer", str(_csv(tmp_path / "u.csv", days=60)), "--every-h", "24", "--plot", str(picture)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "replayed" in out
    assert "y_steer" in out
    assert "as published" in picture.read_text()


def test_between_the_points_of_circular_t_every_day_has_a_value_and_its_sigma(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    path, out = tmp_path / "t.csv", tmp_path / "days.csv"
    rows = [f"{day},{(_truth_ns(day) + rng.normal() * 0.3) * 1e-9!r},3e-10\n" for day in range(60_004, 60_200, 5)]
    path.write_text("epoch_mjd,x_utc_minus_utck_s,u_s\n" + "".join(rows))
    _told([str(path), "--between", str(out)], capsys)
    found = [tuple(map(float, line.split(","))) for line in out.read_text().splitlines()[1:]]
    assert [mjd for mjd, _, _ in found] == list(range(60_004, 60_200))
    errors = np.array([(x * 1e9 - _truth_ns(mjd)) / (u * 1e9) for mjd, x, u in found])
    assert np.sqrt(np.mean(errors**2)) < 1.3
    assert max(u for _, _, u in found) < 1e-9


def test_too_few_values_give_no_order_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "u.csv"
    path.write_text(f"epoch_mjd,x_utc_minus_utck_s\n{FIRST},1e-8\n")
    assert main(["utc", "steer", str(path)]) == 1
    assert "not known well enough" in capsys.readouterr().out


def test_a_bad_row_is_named_and_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean = _told([str(_csv(tmp_path / "a.csv", days=40))], capsys)
    bad = "60100,abc,1e-9\n60101,nan,1e-9\n1,1e-9,1e-9\n60102,5.0,1e-9\n60103,1e-9,-1"
    path = _csv(tmp_path / "b.csv", days=40, extra=bad)
    assert main(["utc", "steer", str(path), "--every-h", "24", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["compared"] == clean["compared"]
    assert err.count("b.csv") == 5
    assert "b.csv:42:2" in err


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("", [], "the file is empty"),
        ("epoch_mjd,other\n60000,1\n", [], "no column x_utc_minus_utck_s"),
        ("epoch_mjd,x_utc_minus_utck_s\n", [], "no value"),
        ("\x00\x01nothing\n", [], "no value"),
        ("epoch_mjd,x_utc_minus_utck_s\n60000,0\n80000,0\n", ["--every-h", "1"], "longer --every-h"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_line(
    text: str, words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "u.csv"
    path.write_text(text)
    assert main(["utc", "steer", str(path), *words]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_what_is_read_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _csv(tmp_path / "u.csv", days=20)
    before = path.read_bytes()
    assert main(["utc", "steer", str(path), "--out", str(path)]) == 2
    assert path.read_bytes() == before
    assert "one of the files that are read" in capsys.readouterr().err


def test_a_false_value_is_held_and_said_and_moves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean = _csv(tmp_path / "clean.csv", days=120)
    lines = clean.read_text().splitlines()
    mjd, x, u = lines[80].split(",")
    lines[80] = f"{mjd},{float(x) + 2e-8!r},{u}"
    false = tmp_path / "false.csv"
    false.write_text("\n".join(lines) + "\n")
    told = [_told([str(path)], capsys) for path in (clean, false)]
    assert told[0]["held"] == []
    assert [(each["values"], each["from_mjd"]) for each in told[1]["held"]] == [(1, float(mjd))]
    ends = [body["forecast"]["x_utc_minus_utck_s"] for body in told]
    assert abs(ends[1] - ends[0]) < 1e-10
    assert main(["utc", "steer", str(false), "--every-h", "24"]) == 0
    assert "1 value held back" in capsys.readouterr().out


def test_a_clock_file_of_pulsar_timing_is_read_for_what_its_days_say() -> None:
    rows = [f"{FIRST + 5 * k}.00000 {_truth_ns(FIRST + 5 * k) * 1e-9:.15f}" for k in range(4)]
    file = "\n".join(["# UTC(AAA) UTC", *rows, f"{FIRST + 20}.00000 0.5"]).encode()
    values, findings = published.read(file, name="aaa.clk", laboratory="AAA")
    assert [each.path for each in values] == ["UTC"] * 4
    assert [each.mjd for each in values] == [FIRST, FIRST + 5, FIRST + 10, FIRST + 15]
    np.testing.assert_allclose([v.x_utc_minus_utck_s for v in values], [float(row.split()[1]) for row in rows], atol=0)
    assert all(each.available_mjd > each.mjd + 12 for each in values)
    assert [finding.rule for finding in findings] == ["out-of-range"]
    assert published.read(file, name="aaa.clk", laboratory=None)[0] == values
    nothing, findings = published.read(file, name="aaa.clk", laboratory="BBB")
    assert (nothing, findings[-1].rule) == ((), "laboratory")
    daily = "\n".join(["# UTC(AAA) UTC", *(f"{FIRST + k} 1e-9" for k in range(7))]).encode()
    assert {each.path for each in published.read(daily, name="aaa.clk", laboratory="AAA")[0]} == {"UTCr"}
