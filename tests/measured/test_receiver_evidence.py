"""What the guide says of receivers is what was measured, and the limits it names are the code's."""

import json
from pathlib import Path
from typing import Any

from truechimer.compare.receiver_quality import DRIFT_DOUBT, LEARN_POSITIONS, Limits

ROOT = Path(__file__).resolve().parents[2]
MEASURED: dict[str, Any] = json.loads((ROOT / "docs" / "measured" / "receiver_evidence.json").read_text("utf-8"))
GUIDE = (ROOT / "docs" / "guide" / "receiver.md").read_text(encoding="utf-8")


def test_clean_receivers_are_believed_as_often_as_the_guide_says() -> None:
    slow, fast = MEASURED["clean"]
    for row, words in ((slow, "1000 clean hours at an epoch a minute"), (fast, "5 hours at an epoch a second")):
        doubted = row["doubtful_epochs"] + row["refused_epochs"]
        of = f"{doubted} of {doubted + row['ok_epochs']}"
        assert f"{words}, {of}" in GUIDE
    assert slow["hours"] == 1000.0


def test_each_disturbance_is_seen_as_soon_as_the_guide_says_and_not_before_it_began() -> None:
    rows = {row["case"]: row for row in MEASURED["seen"]}
    for case, words in (
        ("jammer, C/N0 falls by 12 dB", "a jammer of 12 dB"),
        ("meaconing, a step of 100 ns", "a step of 100 ns"),
        ("drag, 1 ns a minute", "a drag of 1 ns a minute"),
        ("position pulled by 100 m", "a position pulled by 100 m"),
        ("UTC parameters wrong by -13.7 us", "UTC parameters wrong by 13.7 us"),
        ("Galileo alone off by 100 ns", "Galileo alone off by 100 ns"),
        ("simulator: satellites all alike", "a simulator with all satellites alike"),
    ):
        assert f"{words} {rows[case]['refused_at_most_s']:.0f}" in GUIDE
    assert f"(doubtful after {rows['drag, 1 ns a minute']['doubtful_at_most_s']:.0f})" in GUIDE
    assert all(row["early_epochs"] == 0 for row in rows.values())


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    limits = Limits()
    for words in (
        f"{limits.cno_fall_db / 2:g} dB lower; warning | {limits.cno_fall_db:g} dB lower",
        f"| {limits.gain:g} of its range |",
        f"below {limits.cno_spread_db:g} dB | below {limits.cno_spread_db / 2:g} dB;",
        f"median above {limits.cno_most_dbhz:g} dB-Hz",
        f"first {LEARN_POSITIONS} positions | {limits.position_m / 2:g} m | {limits.position_m:g} m",
        f"{limits.step_s * 5e8:g} ns | {limits.step_s * 1e9:g} ns, and {DRIFT_DOUBT * 1e9:g} ns for each second",
        f"at most {limits.clock_rate:g} (`--clock-rate`) | {limits.clock_s * 5e8:g} ns | {limits.clock_s * 1e9:g} ns",
        f"outright {limits.systems_most_s * 1e6:g} us | {limits.systems_s * 5e8:g} ns | {limits.systems_s * 1e9:g} ns",
        f"{limits.utc_s * 5e8:g} ns | {limits.utc_s * 1e9:g} ns |",
    ):
        assert words in GUIDE
