"""Make `.venv` of a checkout, or bring it up to date: one set of hash-pinned wheels after another.

The launcher `truechimer` calls it with the names of the sets that are not fresh; nobody else needs to. It uses the
standard library alone, since nothing is installed yet. It writes only inside `.venv` and its own lock beside it.

The law of the file: a set counts as installed only when a copy of its requirements file stands in
`.venv/truechimer-set-up/`, and that copy is written last. Whoever is killed on the way leaves a mark, and the next run
makes `.venv` anew; where pip itself gave up (no network, no space) `.venv` stays, and the next run installs over it.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "truechimer-set-up"
INCOMPLETE = VENV / "truechimer-set-up-incomplete"
KILLED, PIP_FAILED = "killed", "pip failed"
"""What the mark of an unfinished set-up says; it says "killed" from the start, since whoever is killed says nothing."""
LOCK = ROOT / ".venv.lock"

PROGRAM = """\
#!/bin/sh
# Made by requirements/set_up.py: the program of this checkout, whatever folder it stands in.
here=${0%/*}
if [ -L "$0" ]; then here=$(dirname -- "$(readlink -f -- "$0")"); fi
exec "$here/python" -P -m truechimer "$@"
"""


def main(sets: list[str]) -> int:
    """Install these sets; return 0, or 2 after one line that says what to do."""
    try:
        with lock() as descriptor:
            set_up([name for name in sets if not is_fresh(name)], descriptor)
    except SetUpFailedError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted; the next run begins the set-up again")
        return 2
    return 0


class SetUpFailedError(Exception):
    """The set-up cannot go on; the text says why and what to do."""


def say(words: str) -> None:
    """Tell the person at the terminal; stdout belongs to the verb."""
    print(f"truechimer: {words}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def lock() -> Iterator[int]:
    """Let one set-up run at a time; the kernel frees the lock when its last holder ends, however it ends."""
    try:
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetUpFailedError(
            f"cannot write to {ROOT}: {error.strerror}; the set-up needs a checkout that you own"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this checkout is running; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def is_fresh(name: str) -> bool:
    """Return True if this set was installed from exactly this file: perhaps by whom we waited for."""
    try:
        return PYTHON.exists() and (STAMPS / f"{name}.txt").read_bytes() == (REQUIREMENTS / f"{name}.txt").read_bytes()
    except OSError:
        return False


def set_up(sets: list[str], lock_descriptor: int) -> None:
    """Make `.venv` where it is not whole, then install the sets in order."""
    if not sets:
        return
    began = time.monotonic()
    mark = INCOMPLETE.read_text(encoding="utf-8") if INCOMPLETE.exists() else None
    anew = mark not in {None, PIP_FAILED} or not venv_works()
    if anew:
        sets = ["run", *(name for name in sets if name != "run")]
    version = ".".join(map(str, sys.version_info[:3]))
    say(f"setting up .venv with Python {version}: about {download_mib(sets)} MiB to download ({', '.join(sets)}), once")
    if anew:
        make_venv()
    INCOMPLETE.write_text(KILLED, encoding="utf-8")
    for name in sets:
        install(name, lock_descriptor, over=mark == PIP_FAILED and not anew)
    write_program()
    STAMPS.mkdir(exist_ok=True)
    INCOMPLETE.unlink()
    for name in sets:
        shutil.copyfile(REQUIREMENTS / f"{name}.txt", STAMPS / f"{name}.new")
        (STAMPS / f"{name}.new").replace(STAMPS / f"{name}.txt")
    say(f"set up in {time.monotonic() - began:.0f} s")


def venv_works() -> bool:
    """Return True if `.venv` has a Python of a version we serve, with pip."""
    test = "import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
    try:
        return subprocess.run([PYTHON, "-I", "-c", test], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """Make an empty `.venv`; nothing of an older one stays."""
    if VENV.is_symlink():
        raise SetUpFailedError(f"{VENV} is a link; remove it, the set-up makes a folder of its own there")
    try:
        if VENV.exists():
            shutil.rmtree(VENV)
        VENV.mkdir()
        INCOMPLETE.write_text(KILLED, encoding="utf-8")
        venv.EnvBuilder(with_pip=True, symlinks=True).create(VENV)
    except subprocess.CalledProcessError:
        raise SetUpFailedError(
            "Python could not make a virtual environment; run: apt-get install python3-venv"
        ) from None
    except OSError as error:
        raise SetUpFailedError(f"cannot write to {VENV}: {error.strerror}") from None


def install(name: str, lock_descriptor: int, *, over: bool) -> None:
    """Install one set: wheels only, nothing whose hash is not in the file, nothing that the file does not name.

    `over`: what is there already is written again, since the attempt before may have left a package half written.
    pip holds the lock too: were this process killed, nobody else would begin while pip is still writing.
    """
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-deps",
    ]
    command += ["--no-input", "--disable-pip-version-check", "--no-warn-script-location"]
    command += ["--force-reinstall"] if over else []
    command += [] if sys.stderr.isatty() else ["--quiet"]
    command += ["--requirement", REQUIREMENTS / f"{name}.txt"]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    pip = subprocess.run(command, stdout=sys.stderr, env=environment, pass_fds=(lock_descriptor,), check=False)
    if pip.returncode != 0:
        if pip.returncode > 0:
            INCOMPLETE.write_text(PIP_FAILED, encoding="utf-8")
        raise SetUpFailedError(
            f"pip could not install requirements/{name}.txt (its own words stand above); "
            "is a package index reachable? The next run begins again"
        )


def write_program() -> None:
    """Make `.venv` know this checkout and its `truechimer`; both by relative paths, so that a moved checkout works."""
    (packages,) = (VENV / "lib").glob("python3.*/site-packages")
    source = os.path.relpath(ROOT / "src", packages)
    (packages / "truechimer-checkout.pth").write_text(f"{source}\n", encoding="utf-8")
    program = VENV / "bin" / "truechimer"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)


def download_mib(sets: list[str]) -> int:
    """Return about how much these sets download, from the figures that `requirements/compile` measured."""
    lines = (REQUIREMENTS / "sizes.txt").read_text(encoding="utf-8").splitlines()
    sizes = {name: int(mib) for name, _, mib in (line.partition(" ") for line in lines if not line.startswith("#"))}
    return sum(sizes[name] for name in sets)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
