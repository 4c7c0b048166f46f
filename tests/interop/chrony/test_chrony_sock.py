"""Debian's chronyd, without control of the clock (-x), disciplined by our SOCK door: it takes our offset, and drops us
when we fall silent.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.daemon_chrony.chronyds import Chronyd, chronyd, selected
from tests.daemon_laboratory.laboratories import SOURCE
from tests.daemon_serve.doors import a_live_page, a_page_in
from tests.waits import until

from truechimer.daemon.page_file import PageWriter
from truechimer.serve import ServiceState

pytestmark = pytest.mark.needs_chrony

REFCLOCK = "refclock SOCK {folder}/t.sock refid TRUE poll 0 dpoll -2 filter 4 precision 1e-6 delay 2e-3"


@contextmanager
def a_door(page: Path, to: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a sock door on a page, four samples a second."""
    command = [sys.executable, "-m", "truechimer.daemon.door.sock_process", "--page", str(page), "--socket", str(to)]
    command += ["--period-s", "0.2", "--parent-pid", str(os.getpid()), *options]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert '"ready": true' in process.stdout.readline()
            yield process
        finally:
            process.terminate()
            process.wait(120)


def system_time_s(running: Chronyd) -> float:
    """Return chronyd's estimate of UTC minus the system clock, where it is synchronised to us."""
    words = running.tracking().get("System time", "0 seconds slow").split()
    return float(words[0]) * (1.0 if words[2] == "slow" else -1.0)


@pytest.mark.parametrize("shift_s", [0.0123456, pytest.param(-1.5, marks=pytest.mark.slow)])
def test_chronyd_selects_us_and_takes_our_offset(tmp_path: Path, shift_s: float) -> None:
    page = a_live_page()
    shifted = replace(page, anchor_tai_fs=page.anchor_tai_fs + round(shift_s * 1e15))
    with (
        chronyd(REFCLOCK, "port 0") as running,
        a_page_in(tmp_path, shifted),
        a_door(tmp_path / "page", running.folder / "t.sock"),
    ):
        until(lambda: selected(running) == "TRUE", what=lambda: running.ask("sources"))
        until(lambda: abs(system_time_s(running) - shift_s) < 1e-4, what=lambda: running.ask("tracking"))
        sample = running.ask("-c", "sources").split(",")
    assert float(sample[9]) == pytest.approx(1e-3, rel=0.3), "half the delay on its refclock line is our bound limit"
    print(f"chronyd finds {shift_s:+.7f} s")


@pytest.mark.slow
def test_chronyd_drops_us_when_we_fall_silent_and_takes_us_back(tmp_path: Path) -> None:
    page = a_live_page()
    with (
        chronyd(REFCLOCK, "port 0") as running,
        PageWriter(tmp_path / "page", boot_id=page.boot_id) as writer,
        a_door(tmp_path / "page", running.folder / "t.sock"),
    ):
        writer.publish(page)
        until(lambda: selected(running) == "TRUE", what=lambda: running.ask("sources"))
        writer.publish(replace(page, state=ServiceState.ALARM))
        until(lambda: selected(running) == "", what=lambda: running.ask("sources"))
        writer.publish(page)
        until(lambda: selected(running) == "TRUE", what=lambda: running.ask("sources"))


@pytest.mark.slow
def test_a_simulated_page_never_reaches_chronyd(tmp_path: Path) -> None:
    with (
        chronyd(REFCLOCK, "port 0") as running,
        a_page_in(tmp_path, a_live_page(simulated=True)),
        a_door(tmp_path / "page", running.folder / "t.sock", "--state", str(tmp_path / "state.json")),
    ):
        state = tmp_path / "state.json"
        until(lambda: state.exists() and "simulated-not-allowed" in state.read_text())
        assert selected(running) == ""
        assert '"sent": 0' in state.read_text()
