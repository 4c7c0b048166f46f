"""`truechimer scale replay` over clock RINEX files: several days, gzip, a change of reference, files that are none."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from tests.compare.clock_network import DAY_S, START_TAI_NS, Network, made

from truechimer.cli import scale_verb
from truechimer.errors import Rejected
from truechimer.formats import rinex_clock

LEVELS = [1e-13] * 5 + [3e-12] * 3


def written(folder: Path, network: Network) -> list[str]:
    for name, value in network.files:
        (folder / name).write_bytes(rinex_clock.write(value))
    return [str(folder / name) for name, _ in network.files]


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], str]:
    assert scale_verb.main(["replay", *words, "--json"]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def clock_minus_scale(path: Path, name: str) -> np.ndarray:
    with path.open(encoding="utf-8") as file:
        return np.array([float(row["x_clock_minus_scale_s"]) for row in csv.DictReader(file) if row["clock"] == name])


def test_days_in_any_order_and_gzip_make_one_continuous_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = made(LEVELS, days=3, seed=21)
    files = written(tmp_path, network)
    packed = tmp_path / "packed.clk.gz"
    packed.write_bytes(gzip.compress(Path(files[0]).read_bytes()))
    out = tmp_path / "scale.csv"
    told, _ = run([files[2], str(packed), files[1], "--out", str(out)], capsys)
    assert told["epochs"] == 3 * 144
    assert told["event_count"] == 0
    clock_files = told["clock_files"]
    assert isinstance(clock_files, dict)
    assert len(clock_files["files"]) == 3
    assert [each["epoch_tai_ns"] for each in clock_files["boundaries"]] == [
        START_TAI_NS + k * DAY_S * 10**9 for k in (1, 2)
    ]
    assert all(each["jump_median_s"] > 0.05e-9 for each in clock_files["boundaries"])
    # the true step of any clock over midnight is that of ten minutes: nothing to be seen of 0.3 ns
    for name in network.names[:5]:
        x = clock_minus_scale(out, name)
        second = x[2:] - 2.0 * x[1:-1] + x[:-2]
        assert np.abs(second[[142, 143, 286, 287]]).max() < 5.0 * np.std(second) + 1e-11


def test_the_scale_does_not_depend_on_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves = []
    for k, references in enumerate(((0,), (6, 2))):
        folder = tmp_path / str(k)
        folder.mkdir()
        files = written(folder, made(LEVELS, days=2, seed=22, references=references))
        run([*files, "--out", str(folder / "scale.csv")], capsys)
        curves.append(clock_minus_scale(folder / "scale.csv", "N003"))
    assert np.abs(curves[0] - curves[1]).max() < 1e-14


def test_clocks_named_in_a_clock_file_are_the_ensemble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = written(tmp_path, made(LEVELS, days=1, seed=23))
    clocks = tmp_path / "clocks.toml"
    clocks.write_text("".join(f'[[clock]]\nname = "N00{k}"\nkind = "maser"\n' for k in range(4)), encoding="utf-8")
    told, err = run([*files, "--clocks", str(clocks), "--interval", "1200"], capsys)
    assert [each["name"] for each in told["clocks"]] == [f"N00{k}" for k in range(4)]  # type: ignore[attr-defined]
    assert (told["epochs"], told["rejected_count"], err) == (72, 0, "")


def test_broken_lines_are_named_with_file_and_line_and_the_rest_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = written(tmp_path, made(LEVELS, days=2, seed=24))
    lines = Path(files[1]).read_text(encoding="ascii").split("\n")
    lines[20] = lines[20].replace("E", "X")
    Path(files[1]).write_text("\n".join(lines), encoding="ascii")
    told, err = run(files, capsys)
    assert told["rejected_count"] == 1
    assert told["epochs"] == 2 * 144
    assert ":21:" in err
    assert "day1.clk" in err
    assert "not-a-number" in err


def test_files_that_cannot_be_put_together_are_refused_in_one_sentence(tmp_path: Path) -> None:
    files = written(tmp_path, made(LEVELS, days=1, seed=25))
    table = tmp_path / "readings.csv"
    table.write_text("epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s\n", encoding="utf-8")
    bad: dict[str, bytes] = {
        "short.clk.gz": gzip.compress(Path(files[0]).read_bytes())[:1000],
        "bad.clk.gz": b"\x1f\x8b\x08\x00" + b"\xff" * 64,
        "old.clk.Z": b"\x1f\x9d\x90rest",
        "observation.clk": b"     2.11           O                   G                   RINEX VERSION / TYPE\n",
        "empty.clk": b"     3.00           C                                       RINEX VERSION / TYPE\n",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Rejected) as caught:
            scale_verb.main(["replay", str(tmp_path / name)])
        assert "\n" not in str(caught.value)
    for words in ([files[0], str(table)], [str(table), files[0]], [str(table), "--interval", "300"]):
        with pytest.raises(Rejected):
            scale_verb.main(["replay", *words])
    with pytest.raises(SystemExit):
        scale_verb.main(["replay", files[0], "--interval", "often"])
