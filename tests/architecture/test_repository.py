"""What no file of the repository may hold, and what the requirements must."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = {
    ".git",
    ".venv",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "__pycache__",
    "dist",
    "build",
}
SETS = ("run", "fast", "history", "plot", "test")

# Written in pieces, so that this file does not hold what it looks for.
INDEX_HOST = re.compile(r"(?:files\.)?python" + r"hosted\.org|py" + r"pi\.(?:org|python)|/sim" + r"ple/?(?=[\s\"']|$)")
OUR_MACHINE = re.compile(r"(?<![\w.*~}$)-])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me)/[\w.]")


def tracked_files() -> list[Path]:
    """Return the files that git knows; in a copy without git, all files that are not made by tools."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not NOT_OURS & set(path.relative_to(ROOT).parts)]


def test_no_file_names_a_package_index_or_a_folder_of_one_machine() -> None:
    found = []
    files = tracked_files()
    assert len(files) > 100
    for path in files:
        text = path.read_bytes().decode("utf-8", errors="replace")
        suspect = INDEX_HOST.search(text) or OUR_MACHINE.search(text)
        for number, line in enumerate(text.splitlines() if suspect else (), 1):
            if INDEX_HOST.search(line) or OUR_MACHINE.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "see https://py" + "pi.org/project/x",
        "--index-url https://a/sim" + "ple",
        'cd "/wo' + 'rk/x"',
        "/ro" + "ot/.cache",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert INDEX_HOST.search(line) or OUR_MACHINE.search(line)


@pytest.mark.parametrize("name", SETS)
def test_requirements_are_pinned_hashed_and_without_any_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"(?m)^\s*-(?!-hash)", text)
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if not entry.startswith("#")]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==[^\s;]+( ;[^\\]*)? \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry[:200]


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^\s;]+)", text))


def test_the_sets_agree_where_they_meet() -> None:
    run, fast, history, plot, test = (pins(name) for name in SETS)
    assert run["numpy"] == fast["numpy"] == test["numpy"]
    for upper, lower in ((fast, run), (history, run), (test, run), (test, fast), (test, history), (test, plot)):
        assert {name: upper[name] for name in upper.keys() & lower.keys()} == {
            name: lower[name] for name in upper.keys() & lower.keys()
        }


def test_what_the_package_depends_on_is_what_the_requirements_ask() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def asked(name: str) -> set[str]:
        lines = (ROOT / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
        return {line for line in lines if line and not line.startswith(("#", "-c"))}

    assert set(project["dependencies"]) == asked("run")
    assert set(project["optional-dependencies"]["fast"]) == asked("fast")
    assert set(project["optional-dependencies"]["history"]) == asked("history")
    assert set(project["optional-dependencies"]["plot"]) == asked("plot")


def test_the_download_of_every_set_is_known() -> None:
    lines = (ROOT / "requirements" / "sizes.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("#")] == list(SETS)


def test_every_room_of_tests_has_a_budget_and_the_sums_hold() -> None:
    budget = tomllib.loads((ROOT / "tests" / "budget.toml").read_text(encoding="utf-8"))
    rooms = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")}
    for tier, most_s in (("core", 480), ("ci", 2400)):
        assert rooms <= set(budget[tier]), f"give a line in tests/budget.toml [{tier}]"
        assert sum(budget[tier].values()) <= most_s
    assert all(budget["core"][room] <= budget["ci"][room] for room in budget["core"])


def test_every_module_begins_with_its_duty() -> None:
    duty = re.compile(r'(?:#.*\n|\n)*r?"""\s*[^\s"]')
    modules = sorted((ROOT / "src" / "truechimer").rglob("*.py"))
    assert [str(path) for path in modules if not duty.match(path.read_text(encoding="utf-8"))] == []
    assert not duty.match("import re\n")


def test_no_file_of_code_is_two_concepts() -> None:
    sizes = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n")
        for path in (ROOT / "src" / "truechimer").rglob("*.py")
        if "Generated by" not in path.read_text(encoding="utf-8")[:2000]
    }
    assert {name: size for name, size in sizes.items() if size > 550} == {}
