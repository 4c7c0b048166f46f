"""`truechimer cggtts`: what it prints, writes and draws, and what it says of files that cannot be used."""

import json
from pathlib import Path

import pytest
from tests.formats.test_cggtts import BODIES, file_of
from tests.formats.test_exchange_files import day

from truechimer.cli.__main__ import main
from truechimer.formats import cggtts


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two laboratories with the same tracks, the second 5.0 ns behind."""
    full = (BODIES[0].replace(" 139 ", " 439 "), BODIES[1].replace(" 139 ", " 439 "))
    behind = (full[0].replace("-302", "-352"), full[1].replace("-311", "-361"))
    a, b = tmp_path / "a.258", tmp_path / "b.258"
    a.write_bytes(file_of(full))
    b.write_bytes(file_of(behind))
    return a, b


def test_read_tells_what_a_file_holds(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cggtts", "read", str(files[0])]) == 0
    shown = capsys.readouterr().out
    assert "2 tracks used, 0 refused; MJD 60258 to 60258, 1 epochs" in shown
    assert "header checksum: standard" in shown
    assert main(["cggtts", "read", str(files[0]), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["code"] for row in body["codes"]] == ["E1", "E5a"]
    assert body["codes"][0]["x_clock_minus_system_median_s"] == pytest.approx(-30.2e-9)
    assert body["delays"][0] == {"key": "INT DLY", "code": "GAL E1", "delay_s": pytest.approx(34.6e-9)}


def test_a_damaged_file_is_read_and_its_damage_named(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = files[0].read_bytes().replace(b"155.2", b"255.2").replace(b"-302", b"-303")
    files[0].write_bytes(damaged)
    assert main(["cggtts", "read", str(files[0])]) == 0
    assert main(["cggtts", "read", str(files[0]), "--strict", "--json"]) == 1
    out, err = capsys.readouterr()
    assert "[track-checksum]" in err
    assert "[header-checksum]" in err
    assert [row["rule"] for row in json.loads(out.splitlines()[-1])["findings"]] == [
        "header-checksum",
        "track-checksum",
    ]


def test_compare_gives_each_code_its_own_link(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cggtts", "compare", *map(str, files)]
    assert main([*words, "--json", "--out", str(tmp_path / "link.csv"), "--plot", str(tmp_path / "link.svg")]) == 0
    links = json.loads(capsys.readouterr().out)["links"]
    assert {link["code"]: link["mean_s"] for link in links} == {
        "E1": pytest.approx(5e-9),
        "E5a": pytest.approx(5e-9),
    }
    assert len((tmp_path / "link.csv").read_text().splitlines()) == 4
    assert (tmp_path / "link.svg").read_text().startswith("<svg")
    assert main([*words, "--code", "E1", "--calibration", "-5"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in shown if line.startswith("E ")] == [["E", "E1", "1", "0", "0.000"]]


def test_the_document_of_a_comparison_bears_the_names_of_the_contract(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_bytes(files[0].read_bytes().replace(b" -311 ", b" -312 "))
    assert main(["cggtts", "compare", *map(str, files), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["tracks_common"], body["epochs"], body["code"]) == (1, 1, "E1")
    assert body["mean_ns"] == pytest.approx(5.0)
    line = 1 + [b" -312 " in each for each in files[0].read_bytes().split(b"\n")].index(True)
    (refused,) = body["rejected"]
    assert (refused["file"], refused["line"], refused["rule"]) == (str(files[0]), line, "track-checksum")
    (epoch,) = body["series"]
    assert epoch["x_a_minus_b_s"] == pytest.approx(5e-9)
    assert epoch["epoch_mjd"] == pytest.approx(60_258 + (600 + 390 + 37) / 86_400, abs=1e-9)
    assert body["series"] == body["links"][0]["series"]


def test_two_stations_sessions_are_compared_link_by_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, picture, table = (tmp_path / name for name in ("a", "b", "link.svg", "link.csv"))
    a.write_bytes(day(of_a=True))
    b.write_bytes(day(of_a=False).replace(b" 021600 ", b" 022600 "))
    words = ["cggtts", "compare", str(a), str(b)]
    assert main([*words, "--json", "--plot", str(picture), "--out", str(table)]) == 0
    out, err = capsys.readouterr()
    body = json.loads(out)
    assert (body["method"], body["link"], body["epochs"], body["tracks_common"]) == ("two-way", "LAA01 LBB01", 11, 11)
    assert body["mean_ns"] == pytest.approx(-42.5, abs=0.01)
    assert [each["start_s"] for each in body["links"][0]["unpaired"]] == [8160, 8760]
    assert "session of LAA01 on MJD 61300 at 02:16" in err
    assert picture.read_text().startswith("<svg")
    assert len(table.read_text().splitlines()) == 13
    assert main([*words, "--calibration", "42.5"]) == 0
    assert " 0.000 " in capsys.readouterr().out
    a.write_bytes(day(of_a=True, s=9))
    b.write_bytes(day(of_a=False, s=9))
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert not json.loads(out)["links"][0]["calibrated"]
    assert "[uncalibrated]" in err
    satellites = tmp_path / "c"
    satellites.write_bytes(file_of())
    for more, says in (
        (["compare", str(a), str(b), "--code", "E1"], "--code is for tracks of satellites"),
        (["compare", str(a), str(satellites)], "name two of one kind"),
        (["compare", str(a), str(a)], "no session was measured well by both stations"),
    ):
        assert main(["cggtts", *more]) == 2
        assert says in capsys.readouterr().err


def test_a_number_that_its_columns_cannot_hold_is_refused_and_not_written(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new.258"
    moved = files[0].read_bytes().replace(b"  ", b" ")
    wide = moved.replace(b" 439 ", b" 9876543 ", 1)
    assert wide != moved
    files[0].write_bytes(wide)
    assert main(["cggtts", "write", str(files[0]), "--out", str(out)]) == 0
    assert "[field]" in capsys.readouterr().err
    value, _ = cggtts.read(out.read_bytes())
    assert value is not None
    assert len(value.tracks) == 1


def test_wrong_use_is_told_in_one_line(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = tmp_path / "nothing.258"
    nothing.write_bytes(b"RINEX\n")
    other = tmp_path / "other.258"
    other.write_bytes(file_of(tuple(body.replace("60258", "60259").replace("001000", "000600") for body in BODIES[:3])))
    a, b = map(str, files)
    for words, says in (
        (["read", str(nothing)], "no CGGTTS file"),
        (["read", str(tmp_path / "none")], "name a file that can be read"),
        (["compare", a, str(other)], "of different days"),
        (["compare", a, b, "--min-elevation", "80"], "lower --min-elevation"),
        (["compare", a, b, "--code", "L3P"], "no code 'L3P' in common"),
        (["compare", a, b, "--out", a], "this is what is read"),
        (["write", a, "--out", str(other), "--delay", "INT DLY GPS C1=3"], "the header has no delay INT DLY GPS C1"),
        (["write", a, "--out", str(other), "--delay", "CAB DLY=3.04"], "whole tenths"),
    ):
        assert main(["cggtts", *words]) == 2
        err = capsys.readouterr().err
        assert says in err
        assert err.count("\n") == 1


def test_write_moves_the_tracks_of_a_delay_and_keeps_both_sums(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "new.258"
    words = ["cggtts", "write", str(files[0]), "--out", str(out)]
    assert main(words) == 0
    assert out.read_bytes() == files[0].read_bytes()
    assert main([*words, "--delay", "CAB DLY=150.2", "--delay", "INT DLY GAL E5a=26.6", "--delay", "REF DLY=11.0"]) == 0
    value, findings = cggtts.read(out.read_bytes())
    assert findings == []
    assert value is not None
    # cable 5 ns less: +5 ns; E5a 1 ns more: -1 ns; reference 1 ns more: +1 ns
    assert value.tracks.refsys_100ps.tolist() == [-302 + 60, -311 + 50]
    assert value.header.total_delay_ns("E5a") == pytest.approx(26.6 + 150.2 - 11.0)
