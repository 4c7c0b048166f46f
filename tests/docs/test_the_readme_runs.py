"""Every command in the README runs, and a new run of the demo bears what the README claims of every run.

The commands are the README's own lines. What is changed for the test: the launcher becomes this Python, ports become
free ones, and what would run until Ctrl-C gets `--for`. `./truechimer test` is only asked for its help: it runs this.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import IO, Any

import pytest
from tests.ports import free_port

from .test_documents import BUILDER, ROOT

WITH_THE_DEMO = ("now", "status", "sources", "ask", "chronyd")
DEMO_S, UP_S = 15, 3
PORTS = {"11123": 0, "11126": 3}
"""Ports in the README: how far above the base."""


def commands() -> list[str]:
    """Return the command lines of the README outside the made block, in order."""
    text = re.sub(r"(?s)<!-- demo: begin.*?demo: end -->", "", (ROOT / "README.md").read_text(encoding="utf-8"))
    return re.findall(r"(?m)^    (\S.*)$", text)


def console_addresses() -> list[str]:
    """Return the pages on this machine that the README names."""
    return re.findall(r"http://127\.0\.0\.1:\d+/", (ROOT / "README.md").read_text(encoding="utf-8"))


def verb_of(command: str) -> str:
    """Return the verb, or the program where it is not ours."""
    words = shlex.split(command)
    return words[1] if words[0] == "./truechimer" else Path(words[0]).name


class Place:
    """A folder to run in: nothing of this user's other laboratories is seen from there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, free_port(4)
        (folder / "labs").symlink_to(ROOT / "labs")
        (folder / "run-time").mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if name != "TRUECHIMER_LAB"}
        self.environment = {**kept, "PYTHONPATH": str(ROOT / "src"), "XDG_RUNTIME_DIR": str(folder / "run-time")}

    def words(self, command: str) -> list[str]:
        """Return what to run for a line of the README."""
        for port, above in PORTS.items():
            command = command.replace(port, str(self.base + above))
        first, *rest = shlex.split(command)
        more = {
            "demo": ["--json", "--for", str(DEMO_S), "--port-base", str(self.base)],
            "up": ["--for", str(UP_S)],
            "test": ["--help"],
        }
        if first != "./truechimer":
            return [first, *rest]
        return [sys.executable, "-P", "-m", "truechimer", *rest, *more.get(rest[0], [])]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the README to its end."""
        return subprocess.run(
            self.words(command),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def page(self, address: str) -> tuple[int, str]:
        """Return status and text of a page that the README names."""
        for port, above in PORTS.items():
            address = address.replace(port, str(self.base + above))
        with urllib.request.urlopen(address, timeout=300) as answer:
            return answer.status, answer.read().decode()

    def free_the_ports_of(self, lab: Path) -> None:
        """Write free ports into a laboratory's file: the default ones may be in use on this machine."""
        text = lab.read_text(encoding="utf-8")
        for protocol, above in (("ntp", 0), ("console", 3)):
            line = f'protocol = "{protocol}"\n'
            assert line in text
            text = text.replace(line, f"{line}port = {self.base + above}\n")
        lab.write_text(text, encoding="utf-8")


def test_the_readme_begins_with_the_two_commands() -> None:
    assert commands()[:2] == ["./truechimer demo", "./truechimer test"]
    assert "./truechimer test" in "\n".join((ROOT / "README.md").read_text(encoding="utf-8").split("\n")[:16])


def first_line_with(stream: IO[str], what: str, within_s: float) -> str:
    """Return what a program has said up to a word; it must come in time."""
    said, until = "", time.monotonic() + within_s
    while time.monotonic() < until:
        line = stream.readline()
        if not line:
            break
        said += line
        if what in line:
            return said
    raise AssertionError(f"{what!r} was not said:\n{said}")


@pytest.mark.slow
@pytest.mark.needs_chrony
def test_the_demo_answers_as_the_readme_says_and_bears_its_claims(tmp_path: Path) -> None:
    place = Place(tmp_path)
    told: dict[str, tuple[int, str]] = {}
    with subprocess.Popen(
        place.words("./truechimer demo"),
        cwd=tmp_path,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        try:
            first_line_with(demo.stderr, "NTP answers", 300.0)
            for command in commands():
                if verb_of(command) in WITH_THE_DEMO:
                    done = place.run(command)
                    told[command] = (done.returncode, done.stdout + done.stderr)
            pages = [place.page(address) for address in console_addresses()]
            out, err = demo.communicate(timeout=300)
        finally:
            if demo.poll() is None:
                demo.terminate()
    assert {command: text for command, (status, text) in told.items() if status != 0} == {}
    assert {verb_of(command) for command in told} == set(WITH_THE_DEMO)
    assert [status for status, _ in pages] == [200]
    assert "SIMULATED" in pages[0][1].upper()
    assert demo.returncode == 0, err
    body: dict[str, Any] = json.loads(out)
    assert BUILDER.broken_claims(body) == [], json.dumps(body, indent=1)


@pytest.mark.slow
def test_the_other_commands_of_the_readme_run_in_their_order(tmp_path: Path) -> None:
    place = Place(tmp_path)
    others = [command for command in commands() if verb_of(command) not in {"demo", *WITH_THE_DEMO}]
    assert others[0] == "./truechimer test"
    assert len(others) >= 6
    for command in others:
        done = place.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if verb_of(command) == "init":
            place.free_the_ports_of(tmp_path / shlex.split(command)[2] / "LAB.toml")
    shutil.rmtree(tmp_path / "simulated")
