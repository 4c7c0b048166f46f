"""A laboratory in service and its folder of published values: a file copied there is heard once, and a forged one moves
nothing.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_faults.laboratories import LAB, Run, write_lab

from truechimer.cli.lab_arguments import now_label
from truechimer.daemon import published_turn
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.instants import builtin_leap_table
from truechimer.instants.mjd import MJD_OF_1970
from truechimer.laboratory.publications import DAY_NS, midnight_ns, utck_minus_scale_s
from truechimer.laboratory.replay import replay

WITH_VALUES = LAB + '[utc]\npublished = "published"\nlaboratory = "AAA"\nby = "published"\nbefore = "H1"\n'
LEAPS = builtin_leap_table()


class Clock:
    """Monotonic seconds that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = Clock()
    monkeypatch.setattr(published_turn, "time", clock)
    write_lab(tmp_path, days=4.0, text=WITH_VALUES)
    run = Run.begin(tmp_path).epochs(3)
    yield run, clock
    run.close()


def look(run: Run, clock: Clock, times: int = 2) -> None:
    for _ in range(times):
        clock.now_s += 3.0
        run.laboratory.published.turn(run.laboratory)


def values(run: Run, *, until_days_ago: int = 0) -> str:
    """UTC - UTC(k) of the days on which this laboratory has read its clocks, as its links say it; UTC(k) was H1 until
    steering began.
    """
    state = run.laboratory.started.state
    known, utc = state.publications, state.utc
    assert known is not None
    assert utc is not None
    rows = ["epoch_mjd,x_utc_minus_utck_s"]
    for mjd in range(
        MJD_OF_1970 + known.samples[0].epoch_ns // DAY_NS, MJD_OF_1970 + state.epoch_ns // DAY_NS + 1 - until_days_ago
    ):
        at_ns = midnight_ns(float(mjd), LEAPS)
        x_utck_s = utck_minus_scale_s(known, at_ns, 0)
        if x_utck_s is not None:
            x_utc_s = utc.state.x_s + utc.state.y * ((at_ns - utc.state.epoch_ns) / 1e9)
            rows.append(f"{mjd},{x_utc_s - x_utck_s!r}")
    return "\n".join(rows) + "\n"


def _published(run: Run) -> list[dict[str, Any]]:
    bodies = [json.loads(data) for data in run.laboratory.started.store.read(first=0)]
    return [body for body in bodies if body["kind"] == "published"]


def test_a_file_in_the_folder_is_taken_in_once_and_shown(lab: tuple[Run, Clock]) -> None:
    run, clock = lab
    folder = run.folder / "published"
    assert folder.is_dir()
    text = values(run)
    assert len(text.splitlines()) >= 4
    (folder / ".UTCr.part").write_text(text)
    (folder / "values.csv").write_text(text)
    look(run, clock, 1)
    assert not _published(run)  # it may still grow
    look(run, clock, 4)
    (record,) = _published(run)
    assert record["outcome"] == "taken", record
    shown = run.status()["published"]
    assert shown["files"] == 1
    assert shown["paths"][0]["path"] == "UTCr"
    assert shown["held"] == []
    assert abs(shown["forecast"]["x_utc_minus_utck_s"]) < 1e-6
    (folder / "again.csv").write_text(text)
    look(run, clock, 4)
    assert len(_published(run)) == 1  # the same bytes say nothing new


def test_a_forged_file_is_refused_aloud_and_the_next_start_knows_it(lab: tuple[Run, Clock]) -> None:
    run, clock = lab
    (run.folder / "published" / "bad").write_bytes(b"no value\n")
    os.symlink("/etc/passwd", run.folder / "published" / "link")
    look(run, clock, 4)
    (record,) = _published(run)
    assert (record["outcome"], record["reason"], record["name"]) == ("refused", "malformed", "bad")
    (alert,) = (one for one in run.status()["alerts"] if one["alert"] == "bulletin-refused")
    assert any(record["sha256"] in one for one in alert["because"])
    run.epochs(2)
    assert replay(run.laboratory.started.store.read(first=0)).difference is None
    run.close()
    run.laboratory = Run.begin(run.folder, run.machine).laboratory
    run.epochs(1)
    look(run, clock, 4)
    assert len(_published(run)) == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('[utc]\nlaboratory = "AAA"\n', "missing-key"),
        ('[utc]\npublished = "open"\nlaboratory = "AAA"\n', "folder-permissions"),
        ('[utc]\npublished = "small.toml"\nlaboratory = "AAA"\n', "not-a-folder"),
        ('[utc]\npublished = "values"\nlaboratory = "no code"\n', "bad-text"),
    ],
)
def test_a_table_that_cannot_work_is_refused_before_the_start(tmp_path: Path, text: str, rule: str) -> None:
    write_lab(tmp_path, text=LAB + text)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    found = check_lab(tmp_path / "LAB.toml", now=now_label())
    assert found.lab is None
    assert rule in {one.rule for one in found.findings}, found.findings
