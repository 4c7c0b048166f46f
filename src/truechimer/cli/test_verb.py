"""`truechimer test`: format, lint, types, layers and the tests of a checkout, with the time of each step.

It decides nothing about the tests themselves (`tests/conftest.py` does) and installs no Python package (the launcher
does). Tiers: without an option the core tests; `--ci` adds those marked slow, and forbids skips; `--acceptance` runs
all of them with long fuzzing. Debian packages of peer programs are installed through apt when run as root, else the
one line to run is printed and the tests that need them are skipped.

Exit status: 0 everything passed; 1 a step failed; 2 wrong use, or no checkout around this program.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from truechimer.cli.arguments import verb_parser
from truechimer.errors import Rejected

_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
"""Debian's daemons stand where an ordinary user's PATH does not look."""

MOST_WORKERS = 4
"""Tests that start daemons and ask them for microseconds suffer from more company than this."""

MACHINE_CODE = "TRUECHIMER_MACHINE_CODE"
"""Variable of the tests' environment: a file that appears once machine code is made; see `tests/conftest.py`."""


class NoCheckoutRejected(Rejected):
    """The program was installed from a wheel: its tests are not here."""


@dataclass(frozen=True, slots=True)
class Step:
    """One check: its name and the command that makes it."""

    name: str
    command: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did: exit status, seconds of wall time and the last line that it printed."""

    name: str
    status: int
    seconds: float
    last_line: str


def main(argv: list[str]) -> int:
    """Run the checks one after another; all of them, even when one fails."""
    parser = verb_parser("test", "Run the checks and core tests of a checkout.")
    tier = parser.add_mutually_exclusive_group()
    tier.add_argument("--ci", action="store_true", help="also the slow tests; no skips (what .ci/run calls)")
    tier.add_argument("--acceptance", action="store_true", help="everything, with full seeds and long fuzzing (hours)")
    options = parser.parse_args(argv)
    root = checkout_of(Path(__file__))
    began = time.monotonic()
    install_peers(root)
    set_up_s = time.monotonic() - began
    environment = environment_of(options)
    making = [subprocess.Popen(command, cwd=root, env=environment) for command in machine_code()]
    *checks, tests = steps(options)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as beside:
        environment[MACHINE_CODE] = str(Path(folder) / "made")
        made = beside.submit(wait_for, making, Path(environment[MACHINE_CODE]))
        try:
            outcomes = [run(step, root, environment) for step in checks]
            outcomes.append(run(tests, root, environment))
        finally:
            for process in making:
                process.terminate()  # no more than a formality, but where this was interrupted
        outcomes.insert(-1, made.result())
    together_s = time.monotonic() - began
    print("\nseconds  step")
    print(f"{set_up_s:7.1f}  looking for peer programs (not counted)")
    for outcome in outcomes:
        print(
            f"{outcome.seconds:7.1f}  {outcome.name}{f'  FAILED (status {outcome.status})' if outcome.status else ''}"
        )
    print(f"{together_s:7.1f}  together\n")
    print(outcomes[-1].last_line, flush=True)
    return 1 if any(outcome.status for outcome in outcomes) else 0


def checkout_of(file: Path) -> Path:
    """Return the root of the checkout that `file` (src/truechimer/cli/...) stands in."""
    root = file.resolve().parents[3]
    if not (root / "tests" / "conftest.py").is_file() or not (root / "pyproject.toml").is_file():
        raise NoCheckoutRejected(
            "the tests are in a checkout, not in the installed package; run ./truechimer test there"
        )
    return root


def steps(options: argparse.Namespace) -> list[Step]:
    """Return the checks of this tier in order; pytest is the last, and its closing line the last of all."""
    python = [sys.executable, "-P", "-m"]
    marks = [] if options.acceptance else ["-m", "not acceptance" if options.ci else "not slow and not acceptance"]
    return [
        Step("ruff format --check", [*python, "ruff", "format", "--check", "--quiet", "."]),
        Step("ruff check", [*python, "ruff", "check", "--quiet", "."]),
        Step("mypy", [*python, "mypy"]),
        Step("lint-imports", [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]),
        Step("pytest", [*python, "pytest", *workers(), *marks]),
    ]


def machine_code() -> list[list[str]]:
    """Return what makes machine code beside the rest, on two cores: tests that began without would make it twice. The
    first takes four times as long as all the others.
    """
    make = [sys.executable, "-m", "tests.machine_code"]
    return [[*make, "bands"], [*make, "at1", "kalman", "algos"]]


def wait_for(making: "list[subprocess.Popen[bytes]]", made: Path) -> Outcome:
    """Wait for the machine code, and say with the file `made` that none will come any more."""
    began = time.monotonic()
    status = next((one for one in [process.wait() for process in making] if one), 0)
    with contextlib.suppress(FileNotFoundError):  # its folder is gone: this was interrupted
        made.touch()
    return Outcome("machine code, beside the rest", status, time.monotonic() - began, "")


def workers() -> list[str]:
    """Return pytest's options for one worker more than there are cores, at most `MOST_WORKERS`: tests of programs wait
    for half of their time. A file's tests stay with one worker, and files come in the order that tests/conftest.py
    gives them.
    """
    cores = len(os.sched_getaffinity(0))
    return (
        ["-n", str(min(cores + 1, MOST_WORKERS)), "--dist", "loadfile", "--no-loadscope-reorder"] if cores > 1 else []
    )


def environment_of(options: argparse.Namespace) -> dict[str, str]:
    """Return the environment of the checks: which skips are allowed, how long to fuzz, and where daemons are found."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM_PROGRAMS}"}
    if options.ci or options.acceptance:
        environment["TRUECHIMER_FORBID_SKIPS"] = "1"
    if options.acceptance:
        environment["TRUECHIMER_HYPOTHESIS"] = "acceptance"
    return environment


def run(step: Step, root: Path, environment: dict[str, str]) -> Outcome:
    """Run one step, showing what it prints as it prints it."""
    print(f"--- {step.name}", flush=True)
    began = time.monotonic()
    printed = bytearray()
    with subprocess.Popen(
        step.command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            while chunk := os.read(process.stdout.fileno(), 65536):
                sys.stdout.buffer.write(chunk)
                sys.stdout.flush()
                printed = (printed + chunk)[-4096:]
        except KeyboardInterrupt:
            process.wait()  # it got the same signal; let it say what was done so far
            raise
    lines = printed.decode("utf-8", errors="replace").strip().split("\n")
    return Outcome(step.name, process.returncode, time.monotonic() - began, lines[-1])


def install_peers(root: Path) -> None:
    """Install the Debian packages of peer programs that tests need and this machine lacks, or say the line to run."""
    packages = missing_packages(root)
    if not packages:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"tests that need peer programs will be skipped; to run them too: {' '.join(command)}", flush=True)
        return
    print(f"installing Debian packages that tests use as peers: {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (command, ["apt-get", "update", "-q"], command):
        status = subprocess.run([*words, "-q"], env=environment, stdout=subprocess.DEVNULL, check=False).returncode
        if status == 0 and words is command:
            return
    print(f"apt could not install them (its own words stand above); to try again: {' '.join(command)}", flush=True)


def missing_packages(root: Path) -> list[str]:
    """Return the packages of requirements/debian.txt whose program is absent and whose marker some test carries."""
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PROGRAMS}"
    text = b"\n".join(file.read_bytes() for file in sorted((root / "tests").rglob("test_*.py")))
    missing = []
    for line in (root / "requirements" / "debian.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        marker, program, package = line.split()
        if f"mark.{marker}".encode() in text and shutil.which(program, path=path) is None:
            missing.append(package)
    return missing
