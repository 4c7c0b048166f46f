"""What every test session obeys: which skips are allowed, what each room's tests cost, which hypothesis profile runs.

It tests nothing itself. A test that needs a peer program says so with a marker and is skipped where the program is
absent; where skips are forbidden (`CI=true`, or `./truechimer test --ci`) every skip fails the session, except marker
`shared_data` where that folder is absent, which is counted and printed.
"""

import os
import shutil
import signal
import time
import tomllib
from collections import Counter
from collections.abc import Generator
from functools import cache
from pathlib import Path

import hypothesis
import pytest

# doors that tests open serve by themselves, where a test does not ask for workers: each would read Numba into memory
os.environ.setdefault("TRUECHIMER_NO_WORKERS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for workers and programs: they share the processors already
for _number in (signal.SIGINT, signal.SIGQUIT):
    # ignored in the background of a shell: what tests start shall hear them
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

HERE = Path(__file__).parent
SHARED_DATA = HERE.parent.parent / "shared" / "data"
PEERS = {
    marker: (program, package)
    for marker, program, package in (
        line.split()
        for line in (HERE.parent / "requirements" / "debian.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
}
"""Marker: (program, the Debian package that brings it)."""

EARLY = frozenset({"console", "evidence", "formats", "interop", "store"})
"""Rooms whose laboratories run `at1` alone: they come first, while the machine code of `bands`, which takes more than a
minute, is still being made.
"""

CALCULATING = frozenset(
    {"clocks", "compare", "instants", "laboratory", "measured", "scale", "scenarios", "sim", "stability", "steer"}
    | {"walks", "watch"}
)
"""Rooms whose tests never wait: they come last. Those of programs wait for half of their time, and share cores well."""

MADE_WITHIN_S = 600.0

SKIPS_FORBIDDEN = os.environ.get("TRUECHIMER_FORBID_SKIPS") == "1" or os.environ.get("CI") == "true"

hypothesis.settings.register_profile("core", max_examples=100, deadline=None, print_blob=True)
hypothesis.settings.register_profile("acceptance", max_examples=5_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("TRUECHIMER_HYPOTHESIS", "core"))

_seconds_by_room: Counter[str] = Counter()
_skips_with_data_absent: list[str] = []
_skips_of_other_kinds: list[str] = []


def _search_path() -> str:
    """Return PATH with the folders of daemons: Debian's chronyd stands where an ordinary user's PATH does not look."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with the one line that would change it; put the rooms that take longest first.

    Workers share the files: a long one that began last would leave the others without work.
    """
    cost = tomllib.loads((HERE / "budget.toml").read_text(encoding="utf-8"))["ci"]

    def place(item: pytest.Item) -> tuple[bool, bool, float]:
        room = room_of(item.nodeid)
        return room not in EARLY, room in CALCULATING, -cost.get(room, 0)

    items.sort(key=place)  # stable: random within a room
    absent = {name: peer for name, peer in PEERS.items() if shutil.which(peer[0], path=_search_path()) is None}
    for item in items:
        if item.get_closest_marker("shared_data") and not SHARED_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="the folder ../shared/data is not here"))
        for name, (program, package) in absent.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"{program} is not installed: apt-get install {package}"))
        if item.get_closest_marker("needs_netns") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="only root can make a network namespace"))


def room_of(nodeid: str) -> str:
    """Return the folder under tests/ that a test belongs to; `.` for a file directly in it."""
    parts = nodeid.split("::")[0].split("/")
    if "tests" in parts:
        parts = parts[parts.index("tests") + 1 :]
    return parts[0] if len(parts) > 1 else "."


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Wait until machine code is made, where this test may run it; outside its seconds."""
    if room_of(item.nodeid) not in EARLY:
        _wait_for_machine_code()


@cache
def _wait_for_machine_code() -> None:
    """Wait, once, for the file that `truechimer test` makes when the machine code is there, which it makes beside."""
    made = os.environ.get("TRUECHIMER_MACHINE_CODE")
    end = time.monotonic() + MADE_WITHIN_S
    while made and not Path(made).exists() and time.monotonic() < end:
        time.sleep(0.1)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a phase's duration to its room; note a skip."""
    _seconds_by_room[room_of(report.nodeid)] += report.duration
    if report.skipped and not hasattr(report, "wasxfail"):
        data_absent = "shared_data" in report.keywords and not SHARED_DATA.is_dir()
        (_skips_with_data_absent if data_absent else _skips_of_other_kinds).append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a skipped module: it hides more than one test."""
    if report.skipped:
        _skips_of_other_kinds.append(report.nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Fail a session that skipped where skips are forbidden."""
    if SKIPS_FORBIDDEN and _skips_of_other_kinds and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each room used of its budget, the seed of the order, and the skips that matter."""
    write = terminalreporter.write_line
    expression = config.getoption("markexpr") or ""
    tier = "core" if "not slow" in expression else "ci"
    budgets = tomllib.loads((HERE / "budget.toml").read_text(encoding="utf-8"))[tier]
    terminalreporter.section(f"seconds by room (budget of tier {tier}: tests/budget.toml)")
    for room, seconds in sorted(_seconds_by_room.items()):
        budget = budgets.get(room)
        used = f"{room:<24} {seconds:8.1f} s"
        if budget is None:
            write(f"{used}  HAS NO BUDGET: give it a line in tests/budget.toml", red=True)
        elif seconds > budget and "acceptance" not in os.environ.get("TRUECHIMER_HYPOTHESIS", ""):
            write(f"{used}  OVER ITS BUDGET of {budget:g} s", red=True)
        else:
            write(f"{used}  of {budget:g} s")
    seed = config.getoption("randomly_seed", default="none")
    write(f"random order seed: {seed} (the same order again: pytest -p randomly --randomly-seed={seed})")
    if _skips_with_data_absent:
        write(
            f"{len(_skips_with_data_absent)} tests skipped because the folder ../shared/data is not here", yellow=True
        )
    if SKIPS_FORBIDDEN and _skips_of_other_kinds:
        write(f"{len(_skips_of_other_kinds)} skips where skips are forbidden, so this session fails:", red=True)
        for nodeid in _skips_of_other_kinds:
            write(f"  {nodeid}", red=True)
