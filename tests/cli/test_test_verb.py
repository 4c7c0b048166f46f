"""`truechimer test`: which steps a tier has, how a failure shows, and that a forbidden skip fails a session."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from truechimer.cli import test_verb as verb

ROOT = Path(__file__).parents[2]


def options(*, ci: bool = False, acceptance: bool = False) -> argparse.Namespace:
    return argparse.Namespace(ci=ci, acceptance=acceptance)


def test_each_tier_runs_all_checks_and_differs_in_the_tests_it_picks() -> None:
    core, ci, acceptance = (verb.steps(each) for each in (options(), options(ci=True), options(acceptance=True)))
    names = ["ruff format --check", "ruff check", "mypy", "lint-imports", "pytest"]
    assert [[step.name for step in steps] for steps in (core, ci, acceptance)] == [names] * 3
    assert core[-1].command[-2:] == ["-m", "not slow and not acceptance"]
    assert ci[-1].command[-2:] == ["-m", "not acceptance"]
    assert "not" not in " ".join(acceptance[-1].command)


def test_one_worker_more_than_cores_runs_tests_and_those_of_one_file_stay_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_file = ["--dist", "loadfile", "--no-loadscope-reorder"]
    cores = {1: [], 2: ["-n", "3", *by_file], 64: ["-n", str(verb.MOST_WORKERS), *by_file]}
    for count, wanted in cores.items():
        monkeypatch.setattr(verb.os, "sched_getaffinity", lambda _, count=count: set(range(count)))
        assert verb.workers() == wanted


def test_only_the_stricter_tiers_forbid_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUECHIMER_FORBID_SKIPS", raising=False)  # this very test may run under --ci
    assert "TRUECHIMER_FORBID_SKIPS" not in verb.environment_of(options())
    assert verb.environment_of(options(ci=True))["TRUECHIMER_FORBID_SKIPS"] == "1"
    assert verb.environment_of(options(acceptance=True))["TRUECHIMER_HYPOTHESIS"] == "acceptance"


SECOND = f"""
import os, time
while not os.path.exists(os.environ[{verb.MACHINE_CODE!r}]):
    time.sleep(0.01)
print("two")
print("closing line")
"""


def test_a_failed_step_fails_the_whole_but_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def steps(_: argparse.Namespace) -> list[verb.Step]:
        return [
            verb.Step("first", [sys.executable, "-c", "print('one'); raise SystemExit(3)"]),
            verb.Step("second", [sys.executable, "-c", SECOND]),
        ]

    monkeypatch.setattr(verb, "steps", steps)
    monkeypatch.setattr(verb, "install_peers", lambda _: None)
    monkeypatch.setattr(verb, "machine_code", lambda: [[sys.executable, "-c", "raise SystemExit(4)"]])
    assert verb.main([]) == 1
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert "one" in lines
    assert "two" in lines
    assert any(line.endswith("first  FAILED (status 3)") for line in lines)
    assert any(line.endswith("machine code, beside the rest  FAILED (status 4)") for line in lines)
    assert lines[-1] == "closing line"


def test_a_package_is_needed_only_where_a_test_uses_it_and_the_program_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "debian.txt").write_text(
        "# marker program package\nneeds_a  no-such-a  pkg-a\nneeds_b  no-such-b  pkg-b\nneeds_c  python3  pkg-c\n"
    )
    (tmp_path / "tests" / "x").mkdir(parents=True)
    text = "@pytest.mark." + "needs_a\n@pytest.mark." + "needs_c\n"
    (tmp_path / "tests" / "x" / "test_x.py").write_text(text)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"])
    assert verb.missing_packages(tmp_path) == ["pkg-a"]


@pytest.mark.parametrize(
    ("forbid", "marker", "status"),
    [("0", "", 0), ("1", "", 1), ("1", "@pytest.mark.shared_data", 0), ("1", "@pytest.mark.xfail(reason='x')", 0)],
)
def test_where_skips_are_forbidden_one_skip_fails_the_session(
    tmp_path: Path, forbid: str, marker: str, status: int
) -> None:
    """The project's own conftest on a small tree, where the folder ../shared/data is not."""
    tree = tmp_path / "tree"
    (tree / "tests" / "room").mkdir(parents=True)
    (tree / "requirements").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tree / "tests")
    shutil.copy(ROOT / "requirements" / "debian.txt", tree / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tree)
    (tree / "tests" / "budget.toml").write_text("[core]\nroom = 100\n[ci]\nroom = 0.0\n")
    body = "assert False" if "xfail" in marker else "pass" if "shared" in marker else "pytest.skip('not today')"
    (tree / "tests" / "room" / "test_it.py").write_text(
        f"import pytest\n{marker}\ndef test_it():\n    {body}\ndef test_that():\n    pass\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"TRUECHIMER_FORBID_SKIPS": forbid, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == status, result.stdout
    assert "room" in result.stdout
    assert "OVER ITS BUDGET of 0 s" in result.stdout
    assert "random order seed: " in result.stdout
    assert ("1 tests skipped because the folder" in result.stdout) is ("shared" in marker)
    assert ("skips are forbidden" in result.stdout) is (status == 1)


def test_tests_that_run_machine_code_come_later_and_wait_until_it_is_made(tmp_path: Path) -> None:
    """The project's own conftest on a small tree; what makes the machine code ends after the first room has."""
    tree, made = tmp_path / "tree", tmp_path / "made"
    early = "import os\ndef test_early():\n    assert not os.path.exists(MADE)\n"
    early += "    os.system(f'(sleep 0.5; touch {MADE}) > /dev/null 2>&1 &')\n"
    for room, body in {
        "formats": early,
        "walks": "import os\ndef test_it():\n    assert os.path.exists(MADE)\n",
    }.items():
        (tree / "tests" / room).mkdir(parents=True)
        (tree / "tests" / room / f"test_{room}.py").write_text(f"MADE = {str(made)!r}\n{body}")
    (tree / "requirements").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tree / "tests")
    shutil.copy(ROOT / "requirements" / "debian.txt", tree / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tree)
    (tree / "tests" / "budget.toml").write_text("[core]\n[ci]\nwalks = 100\nformats = 1\n")
    environment = dict(os.environ) | {verb.MACHINE_CODE: str(made), "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_from_a_wheel_there_is_nothing_to_test(tmp_path: Path) -> None:
    with pytest.raises(verb.NoCheckoutRejected, match="checkout"):
        verb.checkout_of(tmp_path / "site-packages" / "truechimer" / "cli" / "test_verb.py")
    assert verb.checkout_of(Path(verb.__file__)) == ROOT


def test_machine_code_is_made_for_every_algorithm_and_a_failure_shows(tmp_path: Path) -> None:
    from truechimer.cli.scale_verb import BUILT

    commands = verb.machine_code()
    assert sorted(word for command in commands for word in command[3:]) == sorted(BUILT)
    assert all((ROOT / command[2].replace(".", "/")).with_suffix(".py").is_file() for command in commands)
    ends = [subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"]) for status in (0, 3)]
    assert verb.wait_for(ends, tmp_path / "made").status == 3
    assert (tmp_path / "made").exists(), "tests that wait for it go on and make it themselves"
