"""The third and the fourth walk are real: a replay and a stability analysis run, and call what the pages name, in the
order of the pages.
"""

from pathlib import Path

import pytest
from tests.scale_verb.records import clocks_true_s, rows, written
from tests.walks.tracing import Trace, names_in

from truechimer.cli import scale_verb, stability_verb


def walk(page: str, trace: Trace) -> None:
    names = names_in(page, "The walk")
    assert len(names) >= 8
    trace.must_pass(names)


def test_the_walk_of_a_replay_is_walked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a", "b", "c", "d"]
    source = written(tmp_path / "readings.csv", rows(clocks_true_s(1.0, [1e-12] * 4), names))
    clocks = tmp_path / "clocks.toml"
    clocks.write_text("".join(f'[[clock]]\nname = "{name}"\nkind = "maser"\n' for name in names), encoding="utf-8")
    out, picture = tmp_path / "scale.csv", tmp_path / "picture.svg"
    words = ["replay", str(source), "--clocks", str(clocks), "--out", str(out), "--plot", str(picture)]
    # once before: to note every call while machine code is made would take minutes
    assert scale_verb.main(words) == 0
    with Trace() as trace:
        assert scale_verb.main(words) == 0
    capsys.readouterr()
    walk("03-scale-replay.md", trace)


def test_the_walk_of_a_stability_analysis_is_walked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "phase.txt"
    source.write_text("\n".join(map(repr, clocks_true_s(10.0, [1e-12])[:, 0].tolist())), encoding="utf-8")
    words = [str(source), "--dev", "oadev,mdev", "--plot", str(tmp_path / "picture.svg")]
    assert stability_verb.main(words) == 0
    with Trace() as trace:
        assert stability_verb.main(words) == 0
    capsys.readouterr()
    walk("04-stability.md", trace)
