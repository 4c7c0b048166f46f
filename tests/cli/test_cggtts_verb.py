"""`truechimer cggtts`: what it prints, writes and draws, and what it says of files that cannot be used."""

import json
from pathlib import Path

import pytest
from tests.formats.test_cggtts import BODIES, file_of

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
