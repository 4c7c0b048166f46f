"""The launcher, for real: a copy of the checkout, real virtual environments, real pip, and packages made on the spot.

No network: the copy's requirements name two tiny wheels that the tests build, and pip is told to look nowhere else.
"""

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = os.path.realpath(sys.executable)


@dataclass(frozen=True)
class Checkout:
    root: Path
    wheels: Path

    def run(self, *words: str, program: str = "./truechimer", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *words],
            cwd=self.root,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        return {**kept, **pip, "TRUECHIMER_PYTHON": PYTHON, **more}

    def require(self, name: str, wheel: Path, *, digest: str | None = None) -> None:
        digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
        project, version = wheel.name.split("-")[:2]
        text = f"{project}=={version} \\\n    --hash=sha256:{digest}\n"
        (self.root / "requirements" / f"{name}.txt").write_text(text)

    def has(self, module: str) -> bool:
        command = [str(self.root / ".venv" / "bin" / "python"), "-I", "-c", f"import {module}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_wheel(folder: Path, project: str, version: str) -> Path:
    """Write the smallest wheel that pip installs: one module, its metadata and the record of both."""
    info = f"{project}-{version}.dist-info"
    files = {
        f"{project}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},{_record_hash(text)},{len(text)}\n" for name, text in files.items())
    folder.mkdir(exist_ok=True)
    path = folder / f"{project}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(name, text)
    return path


def _record_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A copy of what the launcher needs, in a folder whose name has a space."""
    root = tmp_path / "a checkout"
    (root / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "truechimer", root)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("set_up.py", "sizes.txt"):
        shutil.copy(ROOT / "requirements" / name, root / "requirements")
    made = Checkout(root, tmp_path / "wheels")
    made.require("run", make_wheel(made.wheels, "tcrun", "1.0"))
    made.require("fast", make_wheel(made.wheels, "tcfast", "1.0"))
    made.require("history", make_wheel(made.wheels, "tchistory", "1.0"))
    made.require("plot", make_wheel(made.wheels, "tcplot", "1.0"))
    made.require("test", make_wheel(made.wheels, "tctest", "1.0"))
    return made


@pytest.mark.slow
def test_the_first_run_sets_up_and_says_so_and_later_runs_only_run(checkout: Checkout) -> None:
    first = checkout.run("--version")
    assert (first.returncode, first.stdout) == (0, checkout.run("--version").stdout)
    assert first.stdout.startswith("truechimer ")
    assert "MiB to download (run), once" in first.stderr
    assert checkout.has("tcrun")
    assert not checkout.has("tcfast")

    again = checkout.run("--version")
    assert again.stderr == ""
    assert "MiB to download (fast), once" in checkout.run("stability", "a.txt", "--plot", "a.svg").stderr
    assert "once" not in checkout.run("stability", "a.txt", "--plot", "a.svg").stderr
    assert "MiB to download (plot), once" in checkout.run("stability", "a.txt", "--plot", "a.png").stderr
    assert checkout.has("tcplot")
    # The program of the environment, from elsewhere, after the whole checkout was moved, through a link.
    moved = checkout.root.parent / "moved"
    checkout.root.rename(moved)
    (checkout.root.parent / "link").symlink_to(moved / "truechimer")
    for program in (moved / ".venv" / "bin" / "truechimer", moved / "truechimer", checkout.root.parent / "link"):
        from_elsewhere = Checkout(checkout.root.parent, checkout.wheels).run("--version", program=str(program))
        assert (from_elsewhere.returncode, from_elsewhere.stdout, from_elsewhere.stderr) == (0, first.stdout, "")


@pytest.mark.slow
def test_a_changed_set_is_installed_and_a_wrong_hash_never(checkout: Checkout) -> None:
    assert checkout.run("--version").returncode == 0
    newer = make_wheel(checkout.wheels, "tcrun", "2.0")
    checkout.require("run", newer, digest="0" * 64)
    refused = checkout.run("--version")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "pip could not install requirements/run.txt" in refused.stderr
    (checkout.root / ".venv" / "still-mine").touch()
    assert checkout.run("--version").returncode == 2  # it does not count as done
    assert checkout.has("tcrun")  # but what worked before is still there, should the network be away for long
    checkout.require("run", newer)
    assert checkout.run("--version").returncode == 0
    assert checkout.run("--version").stderr == ""
    assert (checkout.root / ".venv" / "still-mine").exists()


@pytest.mark.slow
def test_a_verb_brings_the_sets_that_it_needs(checkout: Checkout) -> None:
    status = checkout.run("test", "--no-such-option")
    assert status.returncode == 2
    assert "(run, fast, history, plot, test)" in status.stderr
    assert all(checkout.has(module) for module in ("tcrun", "tcfast", "tchistory", "tcplot", "tctest"))
    assert (checkout.root / ".venv" / "truechimer-set-up" / "fast.txt").exists()


@pytest.mark.slow
def test_two_first_runs_at_once_set_up_once(checkout: Checkout) -> None:
    command = ["./truechimer", "--version"]
    both = [
        subprocess.Popen(
            command,
            cwd=checkout.root,
            env=checkout.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("setting up" in err for _, err in said) == 1
    assert len({out for out, _ in said}) == 1


@pytest.mark.slow
def test_a_set_up_that_was_killed_is_begun_again(checkout: Checkout) -> None:
    incomplete = checkout.root / ".venv" / "truechimer-set-up-incomplete"
    with subprocess.Popen(
        ["./truechimer", "--version"],
        cwd=checkout.root,
        env=checkout.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 300
        while not incomplete.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert incomplete.exists()
    (checkout.root / ".venv" / "left-over").touch()
    again = checkout.run("--version")
    assert again.returncode == 0
    assert "setting up" in again.stderr
    assert not incomplete.exists()
    assert not (checkout.root / ".venv" / "left-over").exists()
    assert checkout.has("tcrun")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for programs that stand in for Debian's; the real shell tools are linked beside them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cmp", "dirname", "readlink"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def stand_in(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_without_a_python_that_serves_one_line_says_what_to_install(checkout: Checkout, programs: Path) -> None:
    stand_in(programs, "python3", "exit 1")
    refused = checkout.run("--version", PATH=str(programs), TRUECHIMER_PYTHON="")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines() == [
        "truechimer: Python 3.11, 3.12 or 3.13 is needed and was not found; run: apt-get install python3 python3-venv"
    ]


@pytest.fixture
def bare_python(programs: Path, tmp_path: Path) -> Path:
    """A python3 as Debian installs it alone: without ensurepip, until the file that is returned exists."""
    installed = tmp_path / "python3-venv-installed"
    script = f"""
case "$*" in
*os.path.realpath*) echo "{programs}/python3"; exit 0 ;;
*ensurepip*) [ -e "{installed}" ]; exit ;;
esac
exec "{PYTHON}" "$@" """
    stand_in(programs, "python3", script)
    return installed


def test_without_ensurepip_a_user_is_told_the_one_line(checkout: Checkout, programs: Path, bare_python: Path) -> None:
    stand_in(programs, "id", "echo 1000")
    stand_in(programs, "apt-get", f"touch {bare_python}")
    refused = checkout.run("--version", PATH=str(programs), TRUECHIMER_PYTHON="")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.endswith("run: apt-get install python3-venv")
    assert not bare_python.exists()


@pytest.mark.slow
def test_without_ensurepip_root_has_it_installed(checkout: Checkout, programs: Path, bare_python: Path) -> None:
    stand_in(programs, "id", "echo 0")
    stand_in(programs, "apt-get", f'[ "$1" = install ] && [ "$4" = python3-venv ] && : > "{bare_python}"')
    done = checkout.run("--version", PATH=str(programs), TRUECHIMER_PYTHON="")
    assert (done.returncode, done.stdout.split()[0]) == (0, "truechimer")
    assert "installing the Debian package python3-venv" in done.stderr


@pytest.mark.acceptance
def test_a_fresh_clone_sets_itself_up_from_the_package_index(tmp_path: Path) -> None:
    """The only test that needs a package index: what every newcomer does first."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    began = time.monotonic()
    first = subprocess.run([str(clone / "truechimer"), "--version"], capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert time.monotonic() - began < 60
    size = subprocess.run(["du", "-sm", str(clone / ".venv")], capture_output=True, text=True, check=True)
    assert int(size.stdout.split()[0]) <= 120 + 60  # <= 120 MiB beyond NumPy's own (about 58)
