"""What starts fast imports little: verbs that answer within 250 ms are judged by their modules, not by a stopwatch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from truechimer.cli.__main__ import VERBS

HEAVY = {
    "asyncio", "cffi", "cryptography", "duckdb", "llvmlite", "matplotlib", "msgspec", "numba", "numpy", "rich", "scipy",
    "ssl", "starlette", "uvicorn",
}  # fmt: skip
QUICK = [
    ["--help"],
    ["--version"],
    ["check", "--schema"],
    *([verb] for verb in ("now", "status", "sources") if verb in VERBS),
]

PROBE = """
import json, sys
from truechimer.cli.__main__ import main
try:
    status = main(sys.argv[1:])
except SystemExit as left:
    status = left.code
print(json.dumps([status, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def modules_after(words: list[str], folder: Path) -> tuple[int, set[str]]:
    """Run a verb where no laboratory runs, and return its status and the packages it has imported."""
    environment = {"PATH": "", "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "TMPDIR": str(folder)}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    status, names = json.loads(result.stderr.splitlines()[-1])
    return status, set(names)


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_a_quick_verb_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    status, names = modules_after(words, tmp_path)
    assert status == (2 if len(words) == 1 and words[0] in VERBS else 0)
    assert names & HEAVY == set()
    assert "truechimer" in names


@pytest.mark.parametrize(
    "module",
    ["truechimer", "truechimer.instants", "truechimer.cli", *(["truechimer.client"] if "now" in VERBS else [])],
)
def test_what_everyone_imports_is_light(module: str) -> None:
    probe = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", probe]
    names = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert names & HEAVY == set()


def test_the_package_itself_imports_no_room() -> None:
    probe = "import sys, truechimer; print(*sorted(name for name in sys.modules if name.startswith('truechimer')))"
    names = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert names == ["truechimer", "truechimer._version"]
