"""Killed at random moments: no epoch that was served is lost or doubled, and what doors read is always recorded."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def killed(folder: Path, kills: int) -> dict[str, int]:
    """Kill so often; the seed is printed where something is found."""
    seed = random.SystemRandom().randrange(2**31)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.daemon_faults.killing", str(folder), str(kills), str(seed)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        timeout=40.0 + 2.0 * kills,
        check=False,
    )
    assert ran.returncode == 0, f"seed {seed}: {ran.stderr[-3000:]}"
    body: dict[str, int] = json.loads(ran.stdout)
    return body


@pytest.mark.slow
def test_fifty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    found = killed(tmp_path, 50)
    assert found["lives_with_epochs"] >= 5  # the other lives ended while they began
    assert found["epochs_served"] >= 20


@pytest.mark.acceptance
def test_two_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    found = killed(tmp_path, 200)
    assert found["lives_with_epochs"] >= 20
