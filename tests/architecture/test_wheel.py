"""A wheel builds without a network, holds what it must, and installed in an empty environment is the same program."""

import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from .test_repository import ROOT, tracked_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy of the tracked files alone: what is not tracked cannot be in it."""
    copy = tmp_path_factory.mktemp("wheel") / "source"
    for path in tracked_files():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(copy / "dist")]
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = (copy / "dist").glob("*.whl")
    return found


def test_the_wheel_holds_the_package_its_types_and_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    inside = {name for name in names if name.startswith("truechimer/")}
    tracked = {str(path.relative_to(ROOT / "src")) for path in tracked_files() if path.is_relative_to(ROOT / "src")}
    assert inside == tracked
    assert "truechimer/py.typed" in inside
    assert any(name.endswith("licenses/LICENSE") for name in names)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [
        line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist")
    ]
    plain = {need.split(";")[0].strip().split(">")[0].split("<")[0] for need in needed}
    asked = [*project["dependencies"], *(need for extra in project["optional-dependencies"].values() for need in extra)]
    assert plain == {need.split(">")[0].split("<")[0] for need in asked}


def test_installed_in_an_empty_environment_it_is_the_same_program(wheel: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(empty)
    pip = [sys.executable, "-m", "pip", "--python", str(empty), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    program = str(empty / "bin" / "truechimer")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *words], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
        )

    ours = subprocess.run(
        [sys.executable, "-P", "-m", "truechimer", "--version"], capture_output=True, text=True, check=True
    )
    assert run("--version").stdout == ours.stdout
    lab = tmp_path / "LAB.toml"
    lab.write_text('[lab]\nname = "x"\n[[source]]\nname = "p"\nkind = "ntp"\naddress = "192.0.2.1:123"\n')
    good = run("check", "LAB.toml")
    assert (good.returncode, good.stdout) == (0, "LAB.toml: good: laboratory x, 0 clocks, 1 source, 0 doors\n")
    lab.write_text("[lab]\nsilence_ms = 1\n")
    assert run("check", "LAB.toml").returncode == 1
    assert run("init", "lab2").returncode == 0
    outside = run("test")
    assert outside.returncode == 2
    assert "checkout" in outside.stderr
