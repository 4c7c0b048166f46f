"""`truechimer stability --fit, --clocks-toml, --holdover` as a user meets them."""

import json
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest

from truechimer import stability
from truechimer.cli.scale_input import read_clocks

from .test_noise_fit import of
from .verb import run


@pytest.fixture
def record(tmp_path: Path) -> Path:
    x_s = 1e-9 * of(1000, 1, white_fm_1s=1.0)
    path = tmp_path / "clock.txt"
    path.write_text("".join(f"{10 * k} {value!r}\n" for k, value in enumerate(x_s.tolist())), encoding="utf-8")
    return path


def test_the_document_has_the_fit_and_the_prediction(record: Path, capsys: pytest.CaptureFixture) -> None:
    status, out, _ = run(capsys, record, "--fit", "--holdover", "100,1h", "--json", "--ci", "0.9")
    assert status == 0
    body = json.loads(out)
    x_s = np.loadtxt(record)[:, 1]
    model = stability.fit_noise(x_s, 10.0, ci=0.9)
    assert body["fit"] == json.loads(json.dumps(model.as_json()))
    level = body["fit"]["white_fm_1s"]
    assert level["determined"]
    assert level["lower"] < level["value"] < level["upper"]
    assert {"determined", "upper_limit", "upper_limit_level"} == set(body["fit"]["random_walk_fm_1s"])
    assert {"value", "lower", "upper", "determined"} == set(body["fit"]["drift_per_day"])
    told = stability.predict_holdover(model, x_s, 10.0, [100.0, 3600.0], ci=0.9)
    assert body["holdover"] == json.loads(json.dumps(told.as_json()))
    assert body["holdover"]["horizon_s"] == [100.0, 3600.0]
    assert all(value >= 0.0 for value in body["holdover"]["u_s"])


def test_the_table_says_what_is_determined_and_how_far_the_clock_will_be_off(
    record: Path, capsys: pytest.CaptureFixture
) -> None:
    status, out, _ = run(capsys, record, "--fit", "--holdover", "1h", "--drift", "none")
    assert status == 0
    assert "noise model, 68.3 % interval" in out
    assert "likeliest mixture: white_fm_1s = " in out
    assert "not determined, below" in out
    assert "holdover, 68.3 % interval, drift given" in out
    _, plain, _ = run(capsys, record)
    assert "noise model" not in plain
    assert "holdover" not in plain


def test_a_known_drift_reaches_the_prediction(record: Path, capsys: pytest.CaptureFixture) -> None:
    changes = []
    for drift in ("none", "1e-6"):
        _, out, _ = run(capsys, record, "--holdover", "1d", "--drift", drift, "--json")
        body = json.loads(out)
        assert "fit" not in body
        changes.append(body["holdover"]["change_s"][0])
    span = 9990.0  # the frequency at the record's end is above its mean by the drift over half the record
    assert changes[1] - changes[0] == pytest.approx(1e-6 / 86_400.0 * (86_400.0**2 + 86_400.0 * span) / 2.0, rel=0.05)


def test_the_clocks_file_is_one_that_a_laboratory_reads(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "clocks.toml"
    other = tmp_path / 'odd"name.txt'
    other.write_bytes(record.read_bytes())
    status, _, err = run(capsys, record, other, "--clocks-toml", out, "--clock", "H1:maser", "--clock", "Cs2:caesium")
    assert status == 0
    assert f"wrote {out}" in err
    body = tomllib.loads(out.read_text(encoding="utf-8"))
    assert [(clock["name"], clock["kind"]) for clock in body["clock"]] == [("H1", "maser"), ("Cs2", "caesium")]
    model = stability.fit_noise(np.loadtxt(record)[:, 1], 10.0)
    assert body["clock"][0]["noise"] == pytest.approx(model.clock_noise(), rel=1e-5)
    clocks = read_clocks(out)
    assert [clock.noise.white_fm_1s for clock in clocks] == [clock["noise"]["white_fm_1s"] for clock in body["clock"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--holdover", "soon"), "no time"),
        (("--holdover", "0"), "no time"),
        (("--holdover", "1w"), "no time"),
        (("--holdover", "1.2.3h"), "no time"),
        (("--holdover", "1e9d"), "the longest is"),
        (("--holdover", "1d", "--drift", "much"), "no drift"),
        (("--drift", "none"), "--holdover"),
        (("--clock", "H1:maser"), "--clocks-toml"),
        (("--clocks-toml", "out.toml"), "there are 0 for 1 series"),
        (("--clocks-toml", "out.toml", "--clock", "H1:watch"), "no kind 'watch'"),
        (("--clocks-toml", "out.toml", "--clock", "UTC:maser"), "no name for a clock"),
        (("--clocks-toml", "out.toml", "--clock", "UTC.x:maser"), "no name for a clock"),
        (("--clocks-toml", "no/such/folder.toml", "--clock", "H1:maser"), "can be written"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(
    record: Path, capsys: pytest.CaptureFixture, words: tuple[str, ...], says: str
) -> None:
    status, _, err = run(capsys, record, *words)
    assert status == 2
    assert says in err
    assert "Traceback" not in err


def test_a_record_that_is_too_short_to_fit_is_refused_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "short.txt"
    path.write_text("\n".join(str(math.sin(k)) for k in range(20)), encoding="utf-8")
    status, _, err = run(capsys, path, "--fit")
    assert status == 2
    assert "short.txt" in err
    assert "needs 24" in err
