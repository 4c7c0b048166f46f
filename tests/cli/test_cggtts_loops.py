"""`cggtts loops`: three laboratories with truth, a receiver that steps, files that give no loop."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.compare.test_common_view import station

from truechimer.cli.__main__ import main
from truechimer.formats import cggtts


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Write two codes of three laboratories; the receiver of CCC steps by 12 ns in one of them."""
    system = np.cumsum(np.random.default_rng(0).normal(0.0, 3e-10, 89))
    step = np.where(np.arange(89) < 40, 0.0, 12e-9)
    out = []
    for n, (name, x_s) in enumerate((("AAA", 20e-9), ("BBB", -3e-9), ("CCC", 7e-9))):
        for satellites, code in ((range(1, 9), "L1C"), (range(9, 17), "L3P")):
            off = step if (name, code) == ("CCC", "L3P") else 0.0
            file = station(name, x_s + system + off, 50 * n + satellites[0], satellites=satellites, code=code)
            path = tmp_path / f"{name}{code}.258"
            path.write_bytes(cggtts.write(file))
            out.append(str(path))
    return out


def test_a_receiver_that_steps_opens_the_loops_it_is_in_and_is_named(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cggtts", "loops", *files, "--json", "--strict"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert len(body["links"]) == 6
    assert [each["station"] for each in body["suspects"]] == ["CCC (cv G L1C)", "CCC (cv G L3P)"]
    assert [link["flagged"] for link in body["links"]] == ["CCC" in (link["a"], link["b"]) for link in body["links"]]
    for loop in body["loops"]:
        assert "constant_sigmas" not in loop, "no header names a calibration"
        assert abs(abs(loop["change_s"]) - (0.0 if loop["closes"] else 12e-9)) < 1.5e-9
    assert main(["cggtts", "loops", *files]) == 0
    assert "one fault explains which loops are open, of CCC (cv G L1C) or CCC (cv G L3P)" in capsys.readouterr().out


def test_sound_laboratories_close_and_a_stated_constant_is_tested(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sound = [each for each in files if each.endswith("L1C.258")]
    assert main(["cggtts", "loops", *sound, "--json", "--strict", "--u-constant", "2.5"]) == 0
    (loop,) = json.loads(capsys.readouterr().out)["loops"]
    assert loop["closes"]
    assert loop["constant_sigmas"] == 0.0


def test_files_that_give_no_loop_are_refused_in_one_line(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cggtts", "loops", *files[:2]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "three laboratories" in err.splitlines()[-1]
