"""`backcast`: a folder of a laboratory's own files, as sent and as published; what it refuses, and what it leaves."""

import json
from pathlib import Path

import pytest
from tests.formats.test_cggtts import file_of
from tests.laboratory.test_backcast import LEAPS, Laboratory, laboratory

from truechimer.cli.__main__ import main
from truechimer.formats import circular_t, clock_data, utcr
from truechimer.formats.circular_t import CircularT
from truechimer.formats.utc_table import LaboratoryRow, UtcTable
from truechimer.formats.utcr import RapidUtc
from truechimer.instants.mjd import from_calendar, to_calendar, weekday
from truechimer.laboratory.backcast import epoch_of

OF = laboratory(days=200)


def write_published(folder: Path, of: Laboratory) -> None:
    """Write Circular T month by month, with another laboratory's row, and rapid UTC week by week."""
    months: dict[tuple[int, int], list[tuple[int, float]]] = {}
    weeks: dict[int, list[tuple[int, float]]] = {}
    for value in of.published:
        ns = round(value.x_utc_minus_utck_s * 1e9, 1)
        if value.scale == "UTC":
            months.setdefault(to_calendar(value.mjd)[:2], []).append((value.mjd, ns))
        else:
            weeks.setdefault(value.mjd - weekday(value.mjd), []).append((value.mjd, ns))
    for n, ((year, month), days) in enumerate(months.items()):
        mjds, values = zip(*days, strict=True)
        rows = (LaboratoryRow("XYZ", "", (0.0,) * len(days)), LaboratoryRow("ABC", "", values, 0.3, 2.0, 2.0))
        published = from_calendar(year + month // 12, month % 12 + 1, 11)
        (folder / f"cirt.{430 + n}").write_bytes(
            circular_t.write(CircularT(430 + n, published, 37, UtcTable(mjds, rows)))
        )
    for monday, days in weeks.items():
        mjds, values = zip(*days, strict=True)
        (folder / f"UTCr_{monday}").write_bytes(
            utcr.write(RapidUtc("", UtcTable(mjds, (LaboratoryRow("ABC", "", values),))))
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a laboratory's files: clock data, one CGGTTS file, and a note that is of no kind."""
    place = tmp_path / "year"
    place.mkdir()
    (place / "clocks.dat").write_bytes(clock_data.write(OF.readings))
    (place / "day.258").write_bytes(file_of())
    (place / "note.txt").write_text("shelf 3\n")
    (place / "empty.dat").write_bytes(b"")
    (place / "disk.img").write_bytes(bytes(10_000))
    (place / "cirt.429").write_bytes(b"CIRCULAR T 429\n\n1 - Coordinated Universal Time\n")
    (place / "utc-gps").write_bytes(b"61000 2.4 -1.2\n61001 2.1 -1.1\n")
    write_published(place, OF)
    return place


def test_a_year_of_clock_data_is_steered_beside_the_laboratorys_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    table, picture = tmp_path / "days.csv", tmp_path / "days.svg"
    asked = ["backcast", str(folder), "--laboratory", "ABC", "--json", "--out", str(table), "--plot", str(picture)]
    assert main(asked) == 0
    out, err = capsys.readouterr()
    body = json.loads(out)
    assert body["files"]["clocks"] == 1
    assert body["files"]["cggtts"] == 1
    for name, says in (
        ("note.txt", "of no kind"),
        ("utc-gps", "of no kind"),
        ("empty.dat", "the file is empty"),
        ("disk.img", "this is not text"),
        ("cirt.429", "no value can be read"),
    ):
        (line,) = [line for line in err.splitlines() if f"/{name}:" in line]
        assert says in line
        assert line.endswith("passed over")
    whole = body["years"][-1]
    assert whole["own"]["n"] == whole["ours"]["n"] > 20
    assert whole["ours"]["rms_s"] < 1.5e-9
    assert whole["own"]["rms_s"] > 4e-9
    rows = [line.split(",") for line in table.read_text().splitlines() if not line.startswith("#")][1:]
    ours = [float(row[3]) for row in rows if row[3]]
    assert (sum(x * x for x in ours) / len(ours)) ** 0.5 == pytest.approx(whole["ours"]["rms_s"], rel=1e-9)
    assert picture.read_text().startswith("<svg")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert main(asked[:4]) == 0
    assert "own: mean" in capsys.readouterr().out


def test_readings_with_a_utck_in_them_give_the_same_as_clock_data(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backcast", str(folder), "--laboratory", "ABC", "--json"]) == 0
    by_data = json.loads(capsys.readouterr().out)
    lines = ["epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s"]
    lines += [
        f"{epoch_of(each.mjd, LEAPS)},UTC.ABC,m{each.clock},{each.utck_minus_clock_ns * 1e-9:.13e},3e-11"
        for each in OF.readings
    ]
    (folder / "clocks.dat").unlink()
    (folder / "counter.csv").write_text("\n".join(lines) + "\n")
    assert main(["backcast", str(folder), "--laboratory", "ABC", "--json"]) == 0
    by_readings = json.loads(capsys.readouterr().out)
    assert by_readings["years"][-1]["own"] == by_data["years"][-1]["own"]
    # clock data state no reading noise and readings do: the weights of a month differ a little
    assert by_readings["years"][-1]["ours"]["rms_s"] == pytest.approx(by_data["years"][-1]["ours"]["rms_s"], rel=0.2)


def test_what_gives_no_backcast_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for asked, says in (
        ([str(tmp_path / "none")], "no folder"),
        ([str(empty)], "--circular-t"),
        ([str(folder)], "--laboratory"),
        ([str(folder), "--laboratory", "QQQ"], "no value of laboratory QQQ"),
        (
            [str(empty), "--circular-t", str(folder), "--laboratory", "ABC", "--out", str(folder / "cirt.430")],
            "what is read",
        ),
    ):
        assert main(["backcast", *asked]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert says in err.splitlines()[-1]
    for path in folder.glob("clocks.dat"):
        path.unlink()
    assert main(["backcast", str(folder), "--laboratory", "ABC"]) == 2
    assert "there is no clock in it" in capsys.readouterr().err
