"""What `status` and `sources` say of the vote on UTC, of holdover, and of the host's oscillator, for people."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control.fake_laboratory import FakeLaboratory

from truechimer.cli.__main__ import main
from truechimer.cli.status_verb import screen


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLaboratory]:
    with FakeLaboratory(tmp_path / "lab") as running:
        monkeypatch.setenv("TRUECHIMER_LAB", str(running.folder))
        yield running


def shown(**changes: Any) -> str:
    return "\n".join(screen({"state": "steered", "synchronised": True, "utc": "now", "bound_s": 1e-6, **changes}))


@pytest.mark.parametrize(
    ("left_s", "words"),
    [
        (0.0, "for 0 s"),
        (119.9, "for 119 s"),
        (187.0, "for 3.1 min"),
        (9_000.0, "for 2.5 h"),
        (187_000.0, "for 2.1 d"),
        (30 * 86_400.0, "for 30 d or more"),
    ],
)
def test_how_long_holdover_would_last_is_said_in_the_unit_that_suits_it_and_rounded_down(
    left_s: float, words: str
) -> None:
    text = shown(holdover_remaining_s=left_s, holdover_limit_s=1e-3)
    assert f"within 1.00 ms {words} if nothing more is heard" in text


def test_how_long_the_bound_lasts_and_how_long_utck_does_are_not_taken_for_each_other() -> None:
    kept = [{"limit_s": 1e-6, "for_s": 4e6}, {"limit_s": 1e-3, "for_s": 400 * 86_400.0}]
    left = {"holdover_remaining_s": 14_040.0, "holdover_limit_s": 1e-3, "holdover_without": "sources and clocks"}
    text = shown(**left, holdover={"prediction": [], "kept": kept})
    assert "the bound within 1.00 ms for 3.9 h without sources and clocks, UTC(k) itself for 400 d or more" in text
    assert "UTC(k)" not in shown(**left, holdover={"kept": [kept[0], 7, {"limit_s": 1e-3, "for_s": "long"}]})


def test_what_is_not_known_of_holdover_is_not_shown() -> None:
    assert "if nothing more is heard" not in shown()
    assert "if nothing more is heard" not in shown(holdover_remaining_s="soon", holdover_limit_s=1e-3)
    told = {"prediction": [{"horizon_s": 86_400.0, "u_s": 2e-9}, {"horizon_s": 864_000.0, "u_s": 1.5e-8}]}
    assert "one sigma 2.00 ns after 24 h, 15.0 ns after 10 d" in shown(holdover=told)
    assert "after" not in shown(holdover={"prediction": [{"horizon_s": 1.0}, 3]})
    assert "host -2.300e-05 against UTC" in shown(oscillator={"rate_against_utc": -2.3e-5})


def test_sources_says_first_why_nobody_is_followed(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["sources"]) == 0
    usual = capsys.readouterr().out
    says = "no majority: sources of UTC contradict each other; none is followed"
    answered = lab.answer
    monkeypatch.setattr(
        lab.socket,
        "_answer",
        lambda request: answered(request) | {"selection": {"state": "no-majority", "says": says}},
    )
    assert main(["sources"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(says + "\n")
    assert out.splitlines()[2:] == usual.splitlines()
