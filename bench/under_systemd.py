"""What the exported unit is worth under a real systemd: how exposed systemd finds it, and how long a client is without
an answer over `systemctl restart` and over a kill of the laboratory.

    PYTHONPATH=src python bench/under_systemd.py [--runs 5] [--out FILE.json]      (as root)

systemd is process 1 of a machine made of namespaces (tests/cli/systemd_machine.py); the unit is installed by the lines
that `export systemd` prints. A client asks fifty times a second. Nothing is judged here: `tests/cli` holds the exposure
below its bar, and times are the machine's.
"""

import argparse
import json
import platform
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.cli import test_real_systemd as story  # noqa: E402
from tests.cli.systemd_machine import Machine, asked, cannot, machine, silence_s  # noqa: E402

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "usual": (story.DOORS.replace("port = 123\n", "port = 11123\n"), ()),
    "a port below 1024": (story.DOORS, ()),
    "a port below 1024, machine code allowed": (story.DOORS, ("--machine-code",)),
    "observing": ("", ("--observe",)),
}
"""Of a unit: the doors of its laboratory, the options of `export systemd`."""


@contextmanager
def running(more: str, options: tuple[str, ...]) -> Iterator[Machine]:
    """Run a laboratory as a unit of a new machine."""
    with tempfile.TemporaryDirectory() as name, machine(Path(name)) as here:
        story.given_lab(here, more)
        story.installed(here, *options)
        yield here


def exposure(here: Machine) -> float:
    """Return what systemd-analyze says of the loaded unit: 0 nothing is open, 10 everything."""
    judged = here.run("systemd-analyze", "security", "--no-pager", story.UNIT)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged)
    assert found is not None, judged
    return float(found[1])


def silences(here: Machine, *words: str, synchronised: bool, runs: int) -> list[float]:
    """Return the longest time between two answers (s) around a command, once a run."""
    found = []
    for number in range(runs):
        with asked(here) as log:
            before = here.shows(story.UNIT, "MainPID")
            here.run(*words)
            here.until(lambda before=before: here.shows(story.UNIT, "MainPID") not in (before, {"MainPID": "0"}))
            here.until(lambda: here.shows(story.UNIT, "ActiveState")["ActiveState"] == "active")
            story.steered(here)
        found.append(round(silence_s(log, synchronised=synchronised), 4))
        print(f"{' '.join(words)}: run {number}: {found[-1]:.3f} s", file=sys.stderr, flush=True)
    return found


def measured(runs: int) -> dict[str, Any]:
    """Return the document."""
    exposures, body = {}, {}
    for name, (more, options) in KINDS.items():
        with running(more, options) as here:
            exposures[name] = exposure(here)
            if name == "a port below 1024":
                kill = ("systemctl", "kill", "-s", "KILL", "--kill-whom=main", story.UNIT)
                body = {
                    "restart_runs_s": silences(here, "systemctl", "restart", story.UNIT, synchronised=False, runs=runs),
                    "kill_runs_s": silences(here, *kill, synchronised=True, runs=runs),
                }
                version = here.run("systemctl", "--version").splitlines()[0]
    medians = {f"{name.removesuffix('_runs_s')}_s": statistics.median(values) for name, values in body.items()}
    return {
        "systemd": version,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "exposure": {name: {"of_10": value} for name, value in exposures.items()},
        "longest_time_between_two_answers_median": medians,
        **body,
    }


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description="measure the exported unit under a real systemd")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    reason = cannot()
    if reason is not None:
        sys.exit(reason)
    text = json.dumps(measured(options.runs), indent=1) + "\n"
    print(text, end="")
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
