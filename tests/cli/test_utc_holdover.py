"""`truechimer utc holdover`: what is stated of UTC without the outside, from values and from a laboratory that runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from truechimer import client
from truechimer.cli import utc_holdover
from truechimer.cli.__main__ import main


def series(folder: Path, *, days: int, y: float = 0.0, seed: int = 3) -> Path:
    """UTC - UTC(k) in ns by day: white FM of 1 ns in a day, read with 0.3 ns."""
    rng = np.random.default_rng(seed)
    x_ns = 2.0 + y * 86_400e9 * np.arange(days) + np.cumsum(rng.normal(size=days)) + 0.3 * rng.normal(size=days)
    path = folder / "series.txt"
    path.write_text("".join(f"{59_000 + d} {each:.3f}\n" for d, each in enumerate(x_ns.tolist())))
    return path


def told(words: list[str], capsys: pytest.CaptureFixture[str], status: int) -> dict[str, Any]:
    assert main(["utc", "holdover", *words, "--json"]) == status
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_from_values_the_sigma_is_what_their_noise_makes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = series(tmp_path, days=90)
    body = told([str(path), "--kind", "caesium", "--u", "3e-10", "--limit", "2e-8", "--limit", "1e-6"], capsys, 0)
    assert (body["values"], body["first_mjd"], body["last_mjd"]) == (90, 59_000, 59_089)
    day, ten, month = (row["u_s"] for row in body["holdover"]["prediction"])
    assert 0.8e-9 < day < 1.5e-9
    # the walk of ten days, and the rate learned from ninety
    assert 3e-9 < ten < 6e-9
    assert ten < month
    near, far = (row["for_s"] for row in body["holdover"]["kept"])
    assert all(row["for_s"] <= row["likely_for_s"] for row in body["holdover"]["kept"])
    assert 0.0 < near < far
    main(["utc", "holdover", str(path)])
    text = capsys.readouterr().out
    assert "one sigma" in text
    assert "UTC(k) within 30.0 ns for" in text
    assert "(99 in 100), likely" in text


def test_a_csv_of_ones_own_says_the_same_as_a_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = series(tmp_path, days=40)
    rows = [line.split() for line in path.read_text().splitlines()]
    csv = tmp_path / "own.csv"
    csv.write_text("epoch_mjd,x_utc_minus_utck_s\n" + "".join(f"{day},{x}e-9\n" for day, x in rows))
    words = ["--u", "3e-10"]
    one, other = (told([str(each), *words], capsys, 0)["holdover"]["prediction"] for each in (path, csv))
    assert [row["u_s"] for row in other] == pytest.approx([row["u_s"] for row in one], rel=1e-6)


def test_values_noisier_than_the_kind_that_is_named_are_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A frequency that walks 3e-13 a day is no maser's; its sigma was stated at a twelfth of what it is."""
    rng = np.random.default_rng(3)
    x_ns = np.cumsum(np.cumsum(rng.normal(scale=3e-13, size=150)) * 86_400e9 + rng.normal(scale=100.0, size=150))
    path = tmp_path / "wild.txt"
    path.write_text("".join(f"{59_000 + d} {each:.3f}\n" for d, each in enumerate(x_ns.tolist())))
    body = told([str(path), "--u", "1e-8"], capsys, 1)
    assert "walk" in body["learned"]["beyond"]
    main(["utc", "holdover", str(path), "--u", "1e-8"])
    assert "noisier than is looked for in a maser" in capsys.readouterr().out
    assert "beyond" not in told([str(path), "--u", "1e-8", "--kind", "rubidium"], capsys, 1)["learned"]
    assert (
        "beyond"
        not in told([str(series(tmp_path, days=90)), "--kind", "caesium", "--u", "3e-10"], capsys, 0)["learned"]
    )


def test_a_limit_that_is_passed_already_is_kept_for_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = told([str(series(tmp_path, days=60, y=1e-13)), "--limit", "1e-8", "--limit", "1e-5"], capsys, 1)
    assert body["holdover"]["kept"][0]["for_s"] == 0.0
    assert body["holdover"]["kept"][1]["for_s"] > 0.0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--limit", "0"], "no limit in seconds"),
        (["--u", "1e-9"], "--u belongs to files"),
        (["FILE", "--lab", "x"], "either published values or a laboratory"),
        (["SHORT"], "5 at least"),
        (["OTHER"], "holds no UTC - UTC(k)"),
    ],
)
def test_wrong_use_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    short, other = tmp_path / "short.txt", tmp_path / "other.txt"
    short.write_text("59000 1.0\n59001 1.1\n")
    other.write_text("nothing of this kind\n")
    places = {"FILE": str(short), "SHORT": str(short), "OTHER": str(other)}
    try:
        status = main(["utc", "holdover", *(places.get(word, word) for word in words)])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 99
    assert status == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize("columns", ["0.4", "-1.5 0.4", "-1.5 0.4 10 11"])
def test_days_of_utc_minus_a_satellite_system_are_no_utck(
    columns: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "utc-gal.txt"
    path.write_text("".join(f"{mjd} {columns}\n" for mjd in range(61_000, 61_041)))
    assert main(["utc", "holdover", str(path), "--kind", "maser"]) == 2
    out, err = capsys.readouterr()
    assert "[gnss]" in err
    assert "0 values of UTC - UTC(k)" in err
    assert not out


def test_a_laboratory_is_asked_until_it_is_worked_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {"holdover": {"learned_days": 9, "prediction": [{"horizon_s": 86_400.0, "u_s": 2e-9}], "kept": []}}
    row = {"limit_s": 1e-7, "for_s": 172_800.0}
    answers: list[dict[str, Any]] = [{"waits": True}, kept | {"scale": "UTC(x)", "against": "utc", "bound": [row]}]
    answers[1]["holdover_without"] = "sources and clocks"
    asked: list[dict[str, Any]] = []

    def send(request: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked.append(request)
        return dict(answers[min(len(asked), len(answers)) - 1])

    monkeypatch.setattr(client, "send", send)
    monkeypatch.setattr(utc_holdover, "LOOK_EVERY_S", 0.0)
    assert main(["utc", "holdover", "--limit", "1e-7"]) == 0
    assert asked == [{"ask": "holdover", "limits_s": [1e-7]}] * 2
    text = capsys.readouterr().out
    assert "UTC(x): if nothing more came from outside" in text
    assert "learned from 9 days" in text
    assert "the bound within 100.0 ns for 2 d without sources and clocks" in text
