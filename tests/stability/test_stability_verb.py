"""`truechimer stability` as a user meets it: tables, JSON, masks, pictures, and one line for whatever is wrong."""

import json
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from truechimer import stability
from truechimer.stability import suspicion

from .records import power_law
from .verb import run


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "clock.txt"
    x = 1e-9 * power_law(0, 400, np.random.default_rng(1))
    path.write_text("".join(f"{10 * k} {value!r}\n" for k, value in enumerate(x.tolist())), encoding="utf-8")
    return path


def test_the_document_is_that_of_the_contract(record: Path, capsys: pytest.CaptureFixture) -> None:
    status, out, err = run(capsys, record, "--dev", "oadev,mtie", "--json")
    body = json.loads(out)
    assert status == 0
    assert (body["file"], body["n"], body["tau0_s"]) == (str(record), 400, 10.0)
    x = np.loadtxt(record)[:, 1]
    curve = stability.oadev(x, 10.0)
    found = body["deviations"]["oadev"]
    assert found["value"] == curve.value.tolist()
    assert found["lower"] == curve.lower.tolist()
    assert {"tau_s", "value", "lower", "upper", "n", "noise"} <= set(found)
    assert set(body["deviations"]["mtie"]["lower"]) == {None}
    assert "times and values" in err
    assert "tau0 = 10 s (found)" in err


def test_every_statistic_is_there(record: Path, capsys: pytest.CaptureFixture) -> None:
    status, out, _ = run(capsys, record, "--dev", "all", "--taus", "20,100,800", "--json")
    assert status == 0
    deviations = json.loads(out)["deviations"]
    assert len(deviations) == 16
    assert all(len(curve["tau_s"]) == len(curve["upper"]) for curve in deviations.values())
    assert deviations["theo1"]["tau_s"][-1] == pytest.approx(800.0, rel=0.02)


def test_the_table_names_interval_noise_and_what_is_skipped(record: Path, capsys: pytest.CaptureFixture) -> None:
    status, out, _ = run(capsys, record, "--taus", "10,99999", "--ci", "0.95")
    assert status == 0
    assert "oadev, 95 % interval" in out
    assert "white FM" in out
    assert "skipped: too few points" in out
    _, out, _ = run(capsys, record, "--ci", "none", "--dev", "mtotdev", "--bias", "sp1065", "--taus", "40")
    assert "mtotdev, bias taken out (SP 1065)" in out


def test_frequency_units_and_detrending_reach_the_statistics(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "y.txt"
    y = 1e-9 * np.random.default_rng(3).standard_normal(300)
    path.write_text("\n".join(map(repr, y.tolist())), encoding="utf-8")
    _, out, _ = run(capsys, path, "--data", "frequency", "--tau0", "2", "--json", "--detrend", "quadratic")
    expected = stability.oadev(y, 2.0, data="frequency", detrend="quadratic")
    assert json.loads(out)["deviations"]["oadev"]["value"] == expected.value.tolist()
    _, scaled, _ = run(capsys, path, "--tau0", "2", "--json", "--unit", "ns")
    _, plain, _ = run(capsys, path, "--tau0", "2", "--json")
    ratio = json.loads(plain)["deviations"]["oadev"]["value"][0] / json.loads(scaled)["deviations"]["oadev"]["value"][0]
    assert ratio == pytest.approx(1e9)


def test_scaled_phase_and_outliers_are_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "ns.txt"
    x = power_law(0, 300, np.random.default_rng(3))
    x[150:] += 500.0
    path.write_text("\n".join(map(repr, x.tolist())), encoding="utf-8")
    status, out, err = run(capsys, path, "--json")
    assert status == 0
    assert "units in doubt" in err
    assert "--unit ns" in err
    assert "1 outliers beyond 5 robust sigmas, kept" in err
    assert "on line 151" in err
    assert json.loads(out)["n"] == 300
    assert suspicion.units_in_doubt(1e-9 * x, 1.0) == ""


def test_a_mask_is_judged_and_exceeding_it_is_status_1(
    record: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    status, out, _ = run(capsys, record, "--mask", "g811-prc", "--json")
    body = json.loads(out)
    assert {each["statistic"] for each in body["masks"]} == {"mtie", "tdev"}
    assert status == (0 if all(each["met"] for each in body["masks"]) else 1)
    own = tmp_path / "own.toml"
    own.write_text('[[mask]]\nname = "mine"\nstatistic = "oadev"\npoints = [[1, 1e-20], [1e6, 1e-20]]\n')
    status, out, _ = run(capsys, record, "--mask", own)
    assert status == 1
    assert "mask mine (the user's own): EXCEEDED" in out


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_a_picture_is_well_formed_and_shows_bars_masks_and_names(
    record: Path, capsys: pytest.CaptureFixture, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"plot{suffix}"
    words = (
        "--dev",
        "oadev,tdev",
        "--mask",
        "g8272-prtc-a",
        "--show",
        "sigma,phase,frequency,dynamic",
        "--plot",
        target,
    )
    status, _, err = run(capsys, record, record, *words)
    assert status in {0, 1}
    assert f"wrote {target}" in err
    text = target.read_text(encoding="utf-8")
    start = text.index("<svg") if suffix == ".html" else 0
    stop = text.rindex("</svg>") + 6
    pictures = ET.fromstring(f"<all>{text[start:stop].replace('</figure>', '').replace('<figure>', '')}</all>")
    words = " ".join("".join(each.itertext()) for each in pictures.iter() if each.tag.endswith("text"))
    assert "averaging time" in words
    assert "limit g8272-prtc-a-tdev" in words
    assert "Overlapping Allan deviation" in words
    assert "phase / ns" in words
    assert text.count("<circle") > 5


def test_a_png_is_written_with_all_pictures_below_each_other(
    record: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    target = tmp_path / "plot.png"
    status, _, err = run(capsys, record, "--show", "sigma,phase", "--plot", target)
    assert status == 0
    assert f"wrote {target}" in err
    with Image.open(target) as image:
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
        assert image.height > image.width


def test_standard_input_is_a_file(record: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with record.open("rb") as file:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=file))
        status, out, _ = run(capsys, "-", "--json")
    assert (status, json.loads(out)["file"], json.loads(out)["n"]) == (0, "-", 400)


def test_a_spacing_that_contradicts_the_file_is_used_and_doubted(record: Path, capsys: pytest.CaptureFixture) -> None:
    status, out, err = run(capsys, record, "--tau0", "1", "--json")
    assert (status, json.loads(out)["tau0_s"]) == (0, 1.0)
    assert "tau0 in doubt: 1 s was given, and the file says 10 s" in err
    assert "doubt" not in run(capsys, record, "--tau0", "10.01")[2]


def test_frequencies_in_hertz_and_zeros_for_gaps_are_said_and_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "hz.txt"
    hertz = 1e7 + 1e-3 * np.random.default_rng(5).standard_normal(200)
    path.write_text("".join(f"{value:.6f}\n" for value in hertz), encoding="utf-8")
    assert "are they in Hz (then give --nominal)" in run(capsys, path, "--data", "frequency")[2]
    _, out, err = run(capsys, path, "--nominal", "1e7", "--json")
    assert json.loads(out)["data"] == "frequency"
    assert json.loads(out)["deviations"]["oadev"]["value"][0] == pytest.approx(1e-10, rel=0.2)
    assert "doubt" not in err
    path.write_text("1e-9\n2e-9\n0\n1e-9\n3e-9\n2e-9\n1e-9\n", encoding="utf-8")
    assert "1 frequencies are exactly 0" in run(capsys, path, "--data", "frequency")[2]
    _, out, err = run(capsys, path, "--data", "frequency", "--zeros-are-gaps", "--json")
    assert json.loads(out)["deviations"]["oadev"]["n"][0] == 4
    assert "exactly 0" not in err


def test_a_record_that_is_too_short_says_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "two.txt"
    path.write_text("1e-9\n2e-9\n", encoding="utf-8")
    status, out, _ = run(capsys, path)
    assert status == 0
    assert "no averaging time has enough points" in out
    status, _, err = run(capsys, path, "--plot", tmp_path / "a.svg")
    assert status == 2
    assert "there is nothing to draw" in err


def test_daily_phases_in_nanoseconds_are_doubted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "utc.txt"
    x_ns = np.random.default_rng(6).standard_normal(60).cumsum()
    path.write_text("".join(f"{60_000 + 5 * k} {x:.1f}\n" for k, x in enumerate(x_ns)), encoding="utf-8")
    assert "the phase jumps by" in run(capsys, path)[2]
    assert "doubt" not in run(capsys, path, "--unit", "ns")[2]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["absent.txt"], "No such file"),
        (["{record}", "--dev", "adevv"], "there is no statistic 'adevv'"),
        (["{record}", "--taus", "1,x"], "--taus"),
        (["{record}", "--mask", "g999"], "there is no mask 'g999'"),
        (["{record}", "--plot", "x.gif"], "pictures are written as"),
        (["{record}", "--plot", "/nowhere/x.svg"], "no folder"),
        (["{record}", "--show", "spectrum", "--plot", "x.svg"], "--show takes"),
        (["{record}", "--show", "phase"], "give --plot"),
        (["{record}", "--window", "100"], "give --plot"),
        (["{record}", "--pair", "A"], "two names"),
        (["{record}", "--tau0", "-1"], "above zero"),
        (["{record}", "--ci", "2"], "level"),
        (["{record}", "--column", "7"], "no column 7"),
        (["-", "-"], "can be read once"),
        (["{record}", "--nominal", "1e7", "--unit", "ns"], "--nominal"),
        (["{record}", "--time-unit", "year"], "invalid choice"),
        (["{record}/.."], "Not a directory"),
        (["/dev/zero"], "a device"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(
    words: list[str], says: str, record: Path, capsys: pytest.CaptureFixture
) -> None:
    status, out, err = run(capsys, *[word.format(record=record) for word in words])
    assert status == 2
    assert out == ""
    assert says in err
    assert "Traceback" not in err


def test_the_first_bad_row_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("1\n2\ninf\n4\n", encoding="utf-8")
    status, _, err = run(capsys, path)
    assert status == 2
    assert f"{path}:3:" in err
    path.write_text("1 1\n2 2\n4 2\n5 1\n", encoding="utf-8")
    assert f"{path}:3:" in run(capsys, path)[2]


def test_an_averaging_time_between_multiples_of_the_spacing_is_said(
    record: Path, capsys: pytest.CaptureFixture
) -> None:
    status, out, err = run(capsys, record, "--taus", "25,40,9e9")
    assert status == 0
    assert "oadev: averaging times are multiples of 10 s; the nearest are taken: 20 for 25\n" in err
    assert "tau = 9e+09 s (m = 900000000) skipped: too few points" in out
    assert "nearest" not in run(capsys, record, "--taus", "10,40")[2]
    assert (
        "theo1: averaging times are multiples of 15 s; the nearest are taken: 105 for 100\n"
        in (run(capsys, record, "--taus", "100", "--dev", "theo1")[2])
    )
    body = json.loads(run(capsys, record, "--taus", "40,9e9", "--json")[1])
    assert [each["m"] for each in body["deviations"]["oadev"]["skipped"]] == [900_000_000]


def test_hertz_taken_for_phases_are_doubted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "counter.txt"
    y = 1e-10 * power_law(2, 200, np.random.default_rng(3))
    path.write_text("\n".join(f"{1e7 * (1.0 + value):.6f}" for value in y.tolist()), encoding="utf-8")
    assert "units in doubt: half of the phases are beyond 1e+07 s" in run(capsys, path)[2]
    assert "units in doubt" not in run(capsys, path, "--nominal", "1e7")[2]


def test_missing_values_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "holes.txt"
    path.write_text("".join(f"{'nan' if k in {7, 9} else f'{k * k % 7}e-9'}\n" for k in range(50)), encoding="utf-8")
    assert f"{path}:8: 2 of 50 values are missing, the first here [missing]" in run(capsys, path)[2]


def test_a_file_of_one_series_stands_beside_pairs_of_readings(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    readings = tmp_path / "readings.csv"
    rows = [f"{10**9 * k},{name},r,{(k * k) % 17}e-9,1e-12\n" for k in range(60) for name in ("a", "b")]
    readings.write_text("epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n" + "".join(rows))
    plain = tmp_path / "plain.csv"
    plain.write_text("time_s,x_s\n" + "".join(f"{k},{(k * k) % 13}e-9\n" for k in range(60)))
    status, out, err = run(capsys, readings, plain, "--pair", "a,r", "--pair", "b,r", "--dev", "oadev")
    assert status == 0
    assert out.count("oadev,") == 3
    assert err.count("it holds one series") == 1
    status, _, err = run(capsys, plain, "--pair", "a,r", "--dev", "oadev")
    assert status == 2
    assert "clock_a" in err
